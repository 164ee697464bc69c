"""A network's features of pictures, and what they show:   python -m pipeline.embed data=folder data.root=~/photos"""

from pipeline.cli.command import command

main = command("embed", "pipeline.commands.embed:run")

if __name__ == "__main__":
    main()
