from pathlib import Path

import pandas as pd
import pytest

from pipeline.common.errors import BadInput
from pipeline.data.table import PictureTable
from pipeline.data.taxonomy import join_taxonomy
from pipeline.evaluation.depth import Tree


def joined(photos: PictureTable, folder: Path, text: str) -> PictureTable:
    (folder / "kin.csv").write_text(text, encoding="utf-8")
    return join_taxonomy(photos, str(folder / "kin.csv"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("label,family,genus\ncat,Felidae,Felis\ndog,Canidae,Felis\n", "genus Felis .* family Felidae and .* Canidae"),
        ("label,kingdom,order,genus\ncat,A,x,Felis\ndog,A,y,Felis\n", "genus Felis .* order x and the order y"),
        ("label,genus,species\ncat,Felis,Felis catus\ndog,Canis,Felis catus\n", "species Felis catus"),
    ],
)
def test_a_taxon_has_one_parent(text: str, says: str, photos: PictureTable, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=says) as told:
        joined(photos, tmp_path, text)
    assert ("column kingdom" in str(told.value)) == ("kingdom" not in text)


@pytest.mark.parametrize(
    "text",
    [
        "label,kingdom,family,genus\ncat,Animalia,Muscicapidae,Oenanthe\ndog,Plantae,Apiaceae,Oenanthe\n",
        "label,genus,species\ncat,Felis,vulgaris\ndog,Canis,vulgaris\n",  # epithets
        "label,family,genus\ncat,Felidae,Felis\ndog,,Felis\n",
        "label,family,genus\ncat,Felidae,Felis\ndog,Felidae,Felis\nwolf,Canidae,Felis\n",  # no class of this set
    ],
)
def test_homonyms_and_holes_are_no_mistake(text: str, photos: PictureTable, tmp_path: Path) -> None:
    assert joined(photos, tmp_path, text).taxonomy is not None


def test_classes_without_a_row_are_told_of(
    photos: PictureTable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = joined(photos, tmp_path, "label,genus\ncat,Felis\n").taxonomy
    assert table is not None
    assert table["genus"].isna().tolist() == [False, True]
    assert "no row for 1 of 2 classes (dog)" in caplog.text


def test_two_columns_of_one_rank_are_told(photos: PictureTable, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"data\.taxonomy: .* two columns are called 'species'"):
        joined(photos, tmp_path, "label,Species,species\ncat,Felis catus,Felis catus\ndog,Canis lupus,Canis lupus\n")


def test_cells_are_single_values_of_any_type(photos: PictureTable, tmp_path: Path) -> None:
    file = tmp_path / "kin.parquet"
    table = pd.DataFrame({"label": ["cat", "dog"], "family": ["Felidae", "Canidae"], "genus": [["Felis"], ["Canis"]]})
    table.to_parquet(file)
    with pytest.raises(BadInput, match="the column 'genus' holds lists or structures"):
        join_taxonomy(photos, str(file))
    table.assign(genus=[b"Felis", None]).to_parquet(file)
    assert join_taxonomy(photos, str(file)).taxonomy is not None


TREE = "name,parent\ncat,hunter\ndog,helper\nhelper,friend\nfriend,\nhunter,friend\n"


def test_a_tree_of_ones_own_has_levels_below_its_root(photos: PictureTable, tmp_path: Path) -> None:
    table = joined(photos, tmp_path, TREE).taxonomy
    assert table is not None
    assert table.loc["cat"].to_dict() == {"level_1": "friend", "level_2": "hunter"}
    tree = Tree.of(list(photos.classes), table)
    assert tree.levels == ("level_1", "level_2", "label")
    assert tree.groups[0].tolist()[0] == tree.groups[1].tolist()[0]


def test_a_tree_with_ranks_has_these(photos: PictureTable, tmp_path: Path) -> None:
    text = "name,parent,rank\nCat,Felis,\nFelis,Felinae,genus\nFelinae,Felidae,subfamily\nFelidae,,family\n"
    table = joined(photos, tmp_path, text).taxonomy
    assert table is not None
    assert table.loc["cat"].to_dict() == {"family": "Felidae", "genus": "Felis"}
    assert table.loc["dog"].isna().all()  # it is not in the tree: straight to the root
    assert Tree.of(["cat", "dog"], table).finest.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,parent\ncat,hunter\nhunter,friend\nfriend,hunter\n", "a cycle, .*hunter < friend < hunter"),
        ("name,parent\ncat,hunter\ncat,friend\n", "cat has two rows, with the parents hunter and friend"),
        ("name,parent\nlynx,hunter\n", "no name in it is a class, such as 'cat'"),
    ],
)
def test_a_tree_that_is_none(text: str, says: str, photos: PictureTable, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=says) as told:
        joined(photos, tmp_path, text)
    assert "\n" not in str(told.value)
