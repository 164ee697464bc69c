"""A model as a file that runs without this program:   python -m pipeline.export run=ID output=birds.onnx"""

from pipeline.cli.command import command

main = command("export", "pipeline.commands.export:run")

if __name__ == "__main__":
    main()
