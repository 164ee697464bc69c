import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common.errors import BadInput
from pipeline.data.digest import class_counts
from pipeline.data.splits import split_table
from pipeline.data.table import SPLITS, PictureTable


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


@settings(deadline=None, max_examples=40)
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
        assert abs(found["val"].sum() - sum(counts) * val) < 0.5 + 1e-9
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


def test_pictures_without_a_split_beside_a_named_train_are_said(caplog: pytest.LogCaptureFixture) -> None:
    split_table(table_of([4, 4], ["train", "val", None, None] * 2), val=0.1, test=0)
    assert "4 pictures of set have no split and count as of train" in caplog.text
    caplog.clear()
    split_table(table_of([4, 4], [None, "val", None, None] * 2), val=0.1, test=0)
    assert not caplog.text


def test_pictures_without_a_split_are_trains() -> None:
    splits: list[str | None] = [None, "val", "test", "train"] * 2
    assert split_table(table_of([4, 4], splits), val=0.1, test=0.1).rows["split"].tolist()[0] == "train"


def test_a_class_that_train_never_saw() -> None:
    with pytest.raises(BadInput, match="'class 1' is in val but not in train"):
        split_table(table_of([2, 1], ["train", "test", "val"]), val=0.1, test=0.1)


def test_fractions_that_leave_nothing() -> None:
    with pytest.raises(BadInput, match="below 1"):
        split_table(table_of([9, 9]), val=0.5, test=0.5)


def grouped(counts: list[int], groups: list[str | None]) -> PictureTable:
    table = table_of(counts)
    return table.with_rows(table.rows.assign(specimen=pd.array(groups, dtype="str")))


def sides(table: PictureTable, column: str = "specimen") -> pd.Series:
    return table.rows.groupby(column, observed=True)["split"].nunique()


@settings(deadline=None, max_examples=40)
@given(
    groups=st.lists(st.integers(0, 14), min_size=60, max_size=60),
    val=st.floats(0.05, 0.4),
    seed=st.integers(0, 5),
)
def test_a_group_is_never_on_two_sides(groups: list[int], val: float, seed: int) -> None:
    # Nine specimens of its own for each class, and some that show both classes.
    names = [f"mixed {number}" if number < 3 else f"{place // 30} {number}" for place, number in enumerate(groups)]
    table = grouped([30, 30], list(names))
    for options in ({}, {"folds": 3, "fold": seed % 3}):
        try:
            found = split_table(table, val=val, test=0.2, seed=seed, group="specimen", **options)
        except BadInput as error:  # too few specimens of a class, or all of them held out with another class
            assert "of 'specimen' for train" in str(error) or "not in train" in str(error)  # noqa: PT017
            continue
        assert (sides(found) == 1).all()
        assert (class_counts(found)["train"] > 0).all()


def test_fractions_are_of_groups_and_pictures_without_one_stand_alone() -> None:
    groups: list[str | None] = [f"{number // 4}" for number in range(40)] + [None] * 20 + [" "] * 20
    found = split_table(grouped([40, 40], groups), val=0.2, test=0.1, group="specimen")
    assert (sides(found.with_rows(found.rows.iloc[:40])) == 1).all()
    assert class_counts(found).to_numpy().tolist() == [[28, 8, 4], [28, 8, 4]]


def test_published_splits_that_tear_a_group_apart() -> None:
    table = grouped([4, 4], ["a", "b", "a", "c", "d", "e", "f", "g"])
    splits = pd.Categorical(["train", "train", "test", "test"] * 2, categories=SPLITS)
    with pytest.raises(BadInput, match=r"specimen='a' is in train and test"):
        split_table(table.with_rows(table.rows.assign(split=splits)), val=0, test=0, group="specimen")


@settings(deadline=None, max_examples=40)
@given(counts=st.lists(st.integers(4, 40), min_size=2, max_size=8), folds=st.integers(2, 7))
def test_each_picture_is_val_once(counts: list[int], folds: int) -> None:
    table = table_of(counts)
    parts = [split_table(table, val=0.1, test=0.2, folds=folds, fold=fold) for fold in range(folds)]
    tests = {tuple(part.where("test")) for part in parts}
    assert len(tests) == 1
    vals = np.concatenate([part.where("val") for part in parts])
    assert sorted([*vals, *parts[0].where("test")]) == list(range(sum(counts)))
    sizes = np.stack([class_counts(part)["val"].to_numpy() for part in parts])
    assert (np.ptp(sizes, axis=0) <= 1).all()
    assert np.ptp(sizes.sum(axis=1)) <= 1
    assert all((class_counts(part)["train"] > 0).all() for part in parts)


def test_folds_take_in_a_published_val_and_leave_a_published_test() -> None:
    table = table_of([8, 8], ["train", "val", "train", "test"] * 4)
    parts = [split_table(table, val=0.1, test=0.9, folds=3, fold=fold) for fold in range(3)]
    assert all(part.where("test").tolist() == [3, 7, 11, 15] for part in parts)
    assert sum(len(part.where("val")) for part in parts) == 12


@pytest.mark.parametrize("options", [{}, {"folds": 2}])
def test_small_classes_go_or_stay_with_train(options: dict) -> None:
    table = table_of([20, 2, 20])
    with pytest.raises(BadInput, match=r"data\.small_classes=drop or train_only"):
        split_table(table, val=0.1, test=0.2, **options)
    dropped = split_table(table, val=0.1, test=0.2, small_classes="drop", **options)
    assert dropped.classes == ["class 0", "class 2"]
    assert len(dropped.rows) == 40
    kept = class_counts(split_table(table, val=0.1, test=0.2, small_classes="train_only", **options))
    assert kept.loc["class 1"].tolist() == [2, 0, 0]
    assert (kept.loc[["class 0", "class 2"]] > 0).all(axis=None)


def test_a_class_that_train_never_saw_may_be_dropped() -> None:
    table = table_of([4, 4, 1], ["train", "test"] * 4 + ["val"])
    assert split_table(table, val=0.1, test=0.1, small_classes="drop").classes == ["class 0", "class 1"]
    with pytest.raises(BadInput, match="it takes 2"):
        split_table(table_of([9, 1]), val=0.1, test=0.1, small_classes="drop")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"folds": 1}, r"data\.split\.folds: 1 is too few"),
        ({"folds": 100_000}, r"data\.split\.folds: 100000 folds cannot be made of"),
        ({"folds": 5, "fold": 5}, "it is 0 to 4"),
        ({"fold": 1}, r"set data\.split\.folds first"),
        ({"group": "specimen"}, "no column 'specimen' to group by; it has no further columns"),
        ({"group": "label"}, "no column 'label' to group by"),
    ],
)
def test_what_cannot_be_asked_for(options: dict, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        split_table(table_of([9, 9]), val=0.1, test=0.1, **options)
