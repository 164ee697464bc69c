"""Find classes in a list of taxa:   python -m pipeline.taxonomy data=folder data.root=~/photos checklist=Taxon.tsv"""

from pipeline.cli.command import command

main = command("taxonomy", "pipeline.commands.taxonomy:run")

if __name__ == "__main__":
    main()
