"""Where a network looks in pictures:   python -m pipeline.explain run=ID images=~/new-photos output=~/looks"""

from pipeline.cli.command import command

main = command("explain", "pipeline.commands.explain:run")

if __name__ == "__main__":
    main()
