"""Train a finished run once more, and say whether the same came out:   python -m pipeline.reproduce run=ID"""

from pipeline.cli.command import command

main = command("reproduce", "pipeline.commands.reproduce:run")

if __name__ == "__main__":
    main()
