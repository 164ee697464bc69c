from pathlib import Path

import pytest

from pipeline.data.sources import read_source
from pipeline.errors import BadInput
from tests.data.conftest import Write


@pytest.fixture
def shells(write: Write, tmp_path: Path) -> Path:
    for number in range(1, 4):
        write(f"photos/shell {number}.jpg")
    (tmp_path / "classes.txt").write_text("dalli\nConus baccatus\n")
    (tmp_path / "locations.txt").write_text("EASTERN_ATLANTIC\nMEDITERRANEAN\n")
    return tmp_path


def test_the_studys_files(shells: Path) -> None:
    (shells / "train.txt").write_text("photos/shell 1.jpg 0 1\nphotos/shell 2.jpg Conus baccatus EASTERN_ATLANTIC\n")
    (shells / "val.txt").write_text("\nphotos/shell 3.jpg\tdalli\n")
    table = read_source("lists", root=str(shells))
    assert table.rows["path"].tolist() == [f"photos/shell {number}.jpg" for number in range(1, 4)]
    assert table.rows["label"].tolist() == ["dalli", "Conus baccatus", "dalli"]
    assert table.rows["split"].tolist() == ["train", "train", "val"]
    assert table.rows["location"].tolist()[:2] == ["MEDITERRANEAN", "EASTERN_ATLANTIC"]
    assert table.rows["location"].isna().tolist() == [False, False, True]
    assert table.classes == ["dalli", "Conus baccatus"]


def test_without_classes_labels_are_names(write: Write, tmp_path: Path) -> None:
    for number in (1, 2):
        write(f"set/{number}.png")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/train.txt").write_text("1.png red fox\n2.png arctic fox\n")
    table = read_source("lists", root=str(tmp_path / "set"), lists=str(tmp_path / "lists"))
    assert table.classes == ["arctic fox", "red fox"]
    assert "location" not in table.rows


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("photos/shell 1.jpg dali", r"line 1 of .*train\.txt: no class is 'dali'; did you mean dalli"),
        ("photos/shell 1.jpg 2", "no class is '2'"),
        ("photos/shell 1.jpg 0 7", "no location is '7'"),
        ("photos/shell 1.jpg", "has no label"),
        ("photos/shell 9.jpg 0", r"shell 9\.jpg is not there"),
        ("0", "names no picture"),
    ],
)
def test_lines_that_will_not_do(line: str, says: str, shells: Path) -> None:
    (shells / "train.txt").write_text(f"{line}\nphotos/shell 2.jpg 1\n")
    with pytest.raises(BadInput, match=says) as told:
        read_source("lists", root=str(shells))
    assert "\n" not in str(told.value)


def test_no_lists(shells: Path) -> None:
    with pytest.raises(BadInput, match="none of train"):
        read_source("lists", root=str(shells))
    (shells / "classes.txt").write_text("dalli\ndalli\n")
    (shells / "train.txt").write_text("photos/shell 1.jpg 0")
    with pytest.raises(BadInput, match="names 'dalli' twice"):
        read_source("lists", root=str(shells))
