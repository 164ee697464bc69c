"""Score a run or a registered model on any pictures:   python -m pipeline.evaluate run=ID split=test"""

from pipeline.cli.command import command

main = command("evaluate", "pipeline.commands.evaluate:run")

if __name__ == "__main__":
    main()
