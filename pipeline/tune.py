"""Search for the best settings:   python -m pipeline.tune optimizer.lr='tag(log,interval(1e-4,1e-1))' tune.trials=30"""

from pipeline.cli.command import command

main = command("tune", "pipeline.commands.tune:run")

if __name__ == "__main__":
    main()
