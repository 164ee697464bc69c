import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from pipeline.data.digest import class_counts, class_weights, data_digest
from pipeline.data.sources import read_source
from pipeline.data.splits import split_table
from pipeline.data.table import PictureTable
from tests.data.conftest import Write


def test_the_fingerprint_is_of_what_is_in_the_set_not_of_where_it_lies(photos: PictureTable, tmp_path: Path) -> None:
    assert photos.root is not None
    shutil.copytree(photos.root, tmp_path / "moved")
    assert data_digest(read_source("folder", root=str(tmp_path / "moved"))) == data_digest(photos)
    without_sizes = photos.with_rows(photos.rows.drop(columns="bytes"))
    assert data_digest(without_sizes) == data_digest(photos)


def test_the_fingerprint_changes_with_every_part(photos: PictureTable, write: Write) -> None:
    relabelled = photos.rows.assign(label=photos.rows["label"].cat.rename_categories({"cat": "dog", "dog": "cat"}))
    split = split_table(photos, val=0.2, test=0.2)
    digests = [data_digest(photos), data_digest(photos.with_rows(relabelled)), data_digest(split)]
    file = write("photos/cat/00.jpg", size=(80, 60))
    assert photos.root is not None
    digests.append(data_digest(read_source("folder", root=str(photos.root))))
    file.unlink()
    digests.append(data_digest(read_source("folder", root=str(photos.root))))
    assert len(set(digests)) == 5


def test_the_fingerprint_of_pixels() -> None:
    digits = read_source("digits")
    assert digits.pixels is not None
    other = digits.pixels.copy()
    other[5, 0, 0, 0] += 1
    assert data_digest(replace(digits, pixels=other)) != data_digest(digits)


def test_counts_show_empty_places(photos: PictureTable) -> None:
    counts = class_counts(split_table(photos, val=0.2, test=0))
    assert counts.loc["cat"].to_dict() == {"train": 5, "val": 1, "test": 0}


@given(st.lists(st.integers(0, 5), min_size=1))
def test_weights_are_scikit_learns_balanced(labels: list[int]) -> None:
    seen = np.unique(labels)
    weights = class_weights(np.array(labels), 6)
    np.testing.assert_allclose(weights[seen], compute_class_weight("balanced", classes=seen, y=labels))
    assert np.delete(weights, seen).sum() == 0
