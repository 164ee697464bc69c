"""Set finished runs side by side:   python -m pipeline.compare sweep=latest"""

from pipeline.cli.command import command

main = command("compare", "pipeline.commands.compare:run")

if __name__ == "__main__":
    main()
