import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.sources import read_source
from pipeline.data.splits import split_table
from pipeline.data.survey.duplicates import crossing, leaks
from pipeline.data.table import PictureTable

Write = Callable[..., Path]


@pytest.fixture
def copied(write: Write, tmp_path: Path) -> PictureTable:
    """Twelve pictures in published splits; one of train is also in test, one has two labels."""
    for split in ("train", "val", "test"):
        for label in ("cat", "dog"):
            for number in range(2):
                write(f"set/{split}/{label}/{split}{number}.png", (30 + 3 * number, 20 + len(split)))
    root = tmp_path / "set"
    shutil.copy(root / "train/cat/train0.png", root / "test/cat/again.png")
    shutil.copy(root / "train/dog/train1.png", root / "train/cat/twice.png")
    return read_source("folder", root=str(root))


def test_exact_copies_in_two_splits_are_leaks(copied: PictureTable) -> None:
    found = leaks(copied)
    assert found.to_dict("records") == [
        {
            "path": "test/cat/again.png", "split": "test", "label": "cat",
            "other_path": "train/cat/train0.png", "other_split": "train", "other_label": "cat",
        }
    ]  # fmt: skip
    assert found.attrs["unchecked"] == 0


def test_copies_within_a_split_are_none(copied: PictureTable) -> None:
    train = copied.take(copied.where("train"))
    assert leaks(train).empty


def test_sizes_are_looked_up_where_the_source_did_not_note_them(copied: PictureTable) -> None:
    bare = copied.with_rows(copied.rows.drop(columns="bytes", errors="ignore"))
    assert len(leaks(bare)) == 1


def test_what_the_budget_leaves_out_is_counted(copied: PictureTable) -> None:
    found = leaks(copied, most_files=1)
    assert found.attrs["unchecked"] > 0


def test_pictures_in_memory() -> None:
    table = split_table(read_source("digits"), val=0.1, test=0.2)
    assert leaks(table).empty
    assert table.pixels is not None
    pixels = table.pixels.copy()
    one, other = table.where("train")[0], table.where("test")[0]
    pixels[other] = pixels[one]
    doubled = PictureTable(table.name, table.rows, pixels=pixels)
    assert len(leaks(doubled)) == 1


def test_one_picture_under_two_labels(copied: PictureTable) -> None:
    paths = copied.rows["path"].tolist()
    rows = np.array([paths.index(path) for path in ("train/cat/twice.png", "train/dog/train1.png")])
    (pair,) = crossing(copied, rows, np.zeros(2, int)).to_dict("records")
    assert (pair["label"], pair["other_label"]) == ("cat", "dog")
