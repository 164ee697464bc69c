"""Make the best run the one that is served:   python -m pipeline.promote sweep=latest"""

from pipeline.cli.command import command

main = command("promote", "pipeline.commands.promote:run")

if __name__ == "__main__":
    main()
