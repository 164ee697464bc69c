"""Train a network on labelled pictures:   python -m pipeline.train data=folder data.root=~/photos model=resnet50"""

from pipeline.cli.command import command

main = command("train", "pipeline.commands.train:run", begins=True)

if __name__ == "__main__":
    main()
