"""Look at the pictures before training:   python -m pipeline.explore data=folder data.root=~/photos"""

from pipeline.cli.command import command

main = command("explore", "pipeline.commands.explore:run", begins=True)

if __name__ == "__main__":
    main()
