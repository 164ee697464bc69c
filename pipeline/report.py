"""Write a study up, from its runs alone:   python -m pipeline.report sweep=ID output=FOLDER"""

from pipeline.cli.command import command

main = command("report", "pipeline.commands.report:run")

if __name__ == "__main__":
    main()
