"""Let runs that are already there vote:   python -m pipeline.ensemble sweep=latest"""

from pipeline.cli.command import command

main = command("ensemble", "pipeline.commands.ensemble:run")

if __name__ == "__main__":
    main()
