"""Send runs that wait for a server, or carry them from one store to another:   python -m pipeline.sync"""

from pipeline.cli.command import command

main = command("sync", "pipeline.commands.sync:run")

if __name__ == "__main__":
    main()
