"""The shelf of networks, or one network's layers and blocks:   python -m pipeline.models model=dinov2s"""

from pipeline.cli.command import command

main = command("models", "pipeline.commands.models:run")

if __name__ == "__main__":
    main()
