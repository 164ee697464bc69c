import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.digest import class_counts
from pipeline.data.splits import split_table
from pipeline.data.table import SPLITS, PictureTable
from pipeline.errors import BadInput


def table_of(counts: list[int], splits: list[str | None] | None = None) -> PictureTable:
    labels = [f"class {number}" for number, count in enumerate(counts) for _ in range(count)]
    rows = pd.DataFrame(
        {
            "path": [f"{number}.jpg" for number in range(len(labels))],
            "label": pd.Categorical(labels, categories=[f"class {number}" for number in range(len(counts))]),
            "split": pd.Categorical(splits or [None] * len(labels), categories=SPLITS),
        }
    )
    return PictureTable("set", rows)


@given(
    counts=st.lists(st.integers(3, 60), min_size=2, max_size=12),
    val=st.floats(0.01, 0.49),
    test=st.floats(0.01, 0.49),
    seed=st.integers(0, 9),
)
def test_every_class_is_in_every_split(counts: list[int], val: float, test: float, seed: int) -> None:
    table = table_of(counts)
    found = class_counts(split_table(table, val=val, test=test, seed=seed))
    assert list(found.sum(axis=1)) == counts
    assert (found >= 1).all(axis=None)
    wanted = np.outer(counts, [1 - val - test, val, test])
    roomy = (wanted > [2, 1, 1]).all()
    if roomy:  # no class is so small that the least of one picture moves the whole
        assert found["val"].sum() == round(sum(counts) * val)
        for split, part in (("val", val), ("test", test)):
            assert (abs(found[split] - np.array(counts) * part) < 1 + 1e-9).all()


def test_the_seed_decides() -> None:
    table = table_of([50, 50])
    again = [split_table(table, val=0.2, test=0.2, seed=seed).rows["split"].tolist() for seed in (0, 0, 1)]
    assert again[0] == again[1] != again[2]


def test_three_pictures_are_enough_for_three_splits() -> None:
    assert (class_counts(split_table(table_of([3, 300]), val=0.1, test=0.2)).iloc[0] == 1).all()


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ([2, 9], "'class 0' has 2 pictures"),
        ([9, 1, 0], "'class 1' has 1 picture for train, val, test .and 1 more"),
    ],
)
def test_too_few_pictures(counts: list[int], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        split_table(table_of(counts), val=0.1, test=0.2)


def test_two_pictures_do_without_a_test_split() -> None:
    assert set(split_table(table_of([2, 2]), val=0.1, test=0).rows["split"]) == {"train", "val"}


def test_published_splits_stay() -> None:
    splits = ["train", "val", "test"] * 4
    assert split_table(table_of([6, 6], splits), val=0.5, test=0.4).rows["split"].tolist() == splits


def test_val_comes_out_of_train() -> None:
    splits = ["train"] * 8 + ["test"] * 2 + ["train"] * 8 + ["test"] * 2
    found = split_table(table_of([10, 10], splits), val=0.25, test=0.5)
    assert class_counts(found).to_numpy().tolist() == [[6, 2, 2], [6, 2, 2]]
    assert list(found.where("test")) == [8, 9, 18, 19]


def test_train_alone_gives_val_and_test() -> None:
    found = class_counts(split_table(table_of([10, 10], ["train"] * 20), val=0.1, test=0.2))
    assert found.to_numpy().tolist() == [[7, 1, 2], [7, 1, 2]]


def test_pictures_without_a_split_are_trains() -> None:
    splits: list[str | None] = [None, "val", "test", "train"] * 2
    assert split_table(table_of([4, 4], splits), val=0.1, test=0.1).rows["split"].tolist()[0] == "train"


def test_a_class_that_train_never_saw() -> None:
    with pytest.raises(BadInput, match="'class 1' is in val but not in train"):
        split_table(table_of([2, 1], ["train", "test", "val"]), val=0.1, test=0.1)


def test_fractions_that_leave_nothing() -> None:
    with pytest.raises(BadInput, match="below 1"):
        split_table(table_of([9, 9]), val=0.5, test=0.5)
