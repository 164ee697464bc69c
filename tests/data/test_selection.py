import numpy as np
import pytest

from pipeline.common.errors import BadInput
from pipeline.data.digest import class_counts, data_digest
from pipeline.data.selection import bootstrapped, part_of_training, select_classes
from pipeline.data.sources import read_source
from pipeline.data.splits import split_table
from pipeline.data.table import PictureTable


@pytest.fixture
def digits() -> PictureTable:
    return split_table(read_source("digits"), val=0.1, test=0.2)


def test_the_first_classes_or_those_named(digits: PictureTable) -> None:
    assert select_classes(digits, 3).classes == ["0", "1", "2"]
    some = select_classes(digits, ["7", "3"])
    assert some.classes == ["3", "7"]
    assert some.pixels is not None
    assert len(some.pixels) == len(some.rows)
    assert list(some.rows.index) == list(range(len(some.rows)))
    assert select_classes(digits, 10).classes == digits.classes
    none = [(count, f"{count} of 10 classes") for count in (-2, 0, 1, 11)]
    for wrong, says in (*none, (["3", "x"], "no class 'x'"), (["3"], "leaves 1 of 10")):
        with pytest.raises(BadInput, match=says):
            select_classes(digits, wrong)


def test_a_fraction_is_of_training_alone_and_smaller_ones_lie_within_larger(digits: PictureTable) -> None:
    whole = class_counts(digits)
    paths = []
    for fraction in (0.01, 0.1, 0.5):
        part = part_of_training(digits, fraction)
        counts = class_counts(part)
        assert counts[["val", "test"]].equals(whole[["val", "test"]])
        assert (counts["train"] == np.maximum(1, np.rint(whole["train"] * fraction))).all()
        assert part.pixels is not None
        assert len(part.pixels) == len(part.rows)
        paths.append(set(part.rows["path"]))
    assert paths[0] < paths[1] < paths[2]
    assert part_of_training(digits, 1) is digits
    with pytest.raises(BadInput, match=r"data\.fraction"):
        part_of_training(digits, 0)
    few = [part_of_training(digits, per_class=count) for count in (1, 3)]
    for part, count in zip(few, (1, 3), strict=True):
        assert class_counts(part)["train"].eq(count).all()
        assert class_counts(part)[["val", "test"]].equals(whole[["val", "test"]])
    assert set(few[0].rows["path"]) < set(few[1].rows["path"])


def test_a_bootstrap_resamples_training_within_classes(digits: PictureTable) -> None:
    drawn = bootstrapped(digits, 3)
    assert class_counts(drawn).equals(class_counts(digits))
    train, held_out = drawn.rows["split"] == "train", drawn.rows["split"] != "train"
    assert set(drawn.rows["path"][train]) < set(digits.rows["path"][digits.where("train")])
    assert 0.6 < drawn.rows["path"][train].nunique() / train.sum() < 0.67  # 1 - 1/e
    assert drawn.rows["path"][held_out].is_unique
    assert drawn.pixels is not None
    assert digits.pixels is not None
    place = int(drawn.rows["path"].iloc[40].removeprefix("digits/"))
    assert (drawn.pixels[40] == digits.pixels[place]).all()
    assert bootstrapped(digits, None) is digits


def test_each_of_them_shows_in_the_digest(digits: PictureTable) -> None:
    plain = read_source("digits")
    tables = [
        digits,
        part_of_training(digits, 0.5),
        bootstrapped(digits, 0),
        bootstrapped(digits, 1),
        *(split_table(plain, val=0.1, test=0.2, folds=3, fold=fold) for fold in range(3)),
    ]
    assert len({data_digest(table) for table in tables}) == len(tables)
