"""Name what is on pictures:   python -m pipeline.predict images=~/new-photos"""

from pipeline.cli.command import command

main = command("predict", "pipeline.commands.predict:run")

if __name__ == "__main__":
    main()
