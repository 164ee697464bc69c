"""Classes found in a list of taxa: the command as typed, and what its table is to data.taxonomy."""

import pandas as pd
import pytest
from PIL import Image

from pipeline.data.sources import read_source
from pipeline.data.taxonomy import join_taxonomy

LIST = """\
id,kingdom,family,genus,specific_epithet,name,common_name
0,Animalia,Laridae,Larus,argentatus,Larus argentatus,Herring Gull
1,Animalia,Laridae,Larus,fuscus,Larus fuscus,Lesser Black-backed Gull
2,Plantae,Apiaceae,Oenanthe,crocata,Oenanthe crocata,
3,Animalia,Muscicapidae,Oenanthe,oenanthe,Oenanthe oenanthe,Wheatear
"""


@pytest.fixture
def birds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("Herring_Gull", "Larus_fuscus_L.", "Oenanthe"):
        (tmp_path / "birds" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (8, 8), (number, 0, len(name))).save(tmp_path / "birds" / name / f"{number}.png")
    (tmp_path / "list.csv").write_text(LIST, encoding="utf-8")
    return ["data=folder", f"data.root={tmp_path / 'birds'}"]


def test_a_table_to_look_through_and_then_to_use(birds, tmp_path, typed, capsys):
    assert typed("taxonomy", *birds, "checklist=list.csv", "output=kin.csv") == 0
    made = pd.read_csv("kin.csv")
    assert made["status"].tolist() == ["homonym", "homonym", "matched", "matched"]
    table = read_source("folder", root=str(tmp_path / "birds"), name="birds")
    known = join_taxonomy(table, "kin.csv").taxonomy
    assert known["family"].tolist()[:2] == ["Laridae", "Laridae"]
    assert known["family"].isna().tolist() == [False, False, True]
    assert "not sure of 1 class (Oenanthe)" in capsys.readouterr().out
    made.loc[made["kingdom"] == "Animalia", "status"] = "matched"
    made.to_csv("kin.csv", index=False)
    assert join_taxonomy(table, "kin.csv").taxonomy["family"].tolist()[-1] == "Muscicapidae"


def test_what_somebody_looked_through_is_not_written_over(birds, typed, capsys):
    assert typed("taxonomy", *birds) == 2
    assert "checklist=Taxon.tsv" in capsys.readouterr().err
    assert typed("taxonomy", *birds, "checklist=list.csv", "output=kin.csv") == 0
    assert typed("taxonomy", *birds, "checklist=list.csv", "output=kin.csv") == 2
    assert "somebody may have looked through it" in capsys.readouterr().err


def test_what_gbif_cannot_be_asked_stays_as_it_was(birds, tmp_path, typed, capsys):
    (tmp_path / "birds" / "Larus_fuscus_L.").rename(tmp_path / "birds" / "Gadwall")
    assert typed("taxonomy", *birds, "checklist=list.csv", "online=true", "gbif=http://127.0.0.1:9/v1") == 0
    assert pd.read_csv("taxonomy.csv")["status"].tolist() == ["homonym", "homonym", "unmatched", "matched"]
    assert "names not asked for stay as the checklist has them" in capsys.readouterr().out
