from pathlib import Path

import pandas as pd
import pytest

from pipeline.common.errors import BadInput
from pipeline.data.table import PictureTable
from pipeline.data.taxonomy import join_taxonomy


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
