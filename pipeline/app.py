"""The page for people, and REST for programs:   python -m pipeline.app folders=~/photos"""

from pipeline.cli.command import command

main = command("app", "pipeline.commands.app:run")

if __name__ == "__main__":
    main()
