import numpy as np
import pytest
from sklearn.datasets import load_digits

from pipeline.common.errors import BadInput
from pipeline.data.sources import read_source


def test_digits_are_scikit_learns_own() -> None:
    table = read_source("digits")
    theirs = load_digits()
    assert table.pixels is not None
    assert table.pixels.shape == (1797, 8, 8, 3)
    assert table.pixels.dtype == np.uint8
    np.testing.assert_array_equal(table.pixels[..., 1], (theirs.images * 255 // 16).astype(np.uint8))
    np.testing.assert_array_equal(table.labels, theirs.target)
    assert table.classes == list("0123456789")
    assert table.rows["path"].iloc[7] == "digits/0007"
    assert table.rows["split"].isna().all()


def test_digits_have_no_folder() -> None:
    with pytest.raises(BadInput, match=r"data\.root.*data=folder"):
        read_source("digits", root="/photos")


def test_unknown_source_names_the_nearest() -> None:
    with pytest.raises(BadInput, match="did you mean folder"):
        read_source("foldr")


@pytest.mark.parametrize("classes", [3, ["2", "0", "1"]])
def test_fewer_classes(classes: int | list[str]) -> None:
    table = read_source("digits", classes=classes)
    assert table.classes == ["0", "1", "2"]
    assert table.pixels is not None
    assert len(table.pixels) == len(table.rows) == 178 + 182 + 177
    assert set(table.labels) == {0, 1, 2}


@pytest.mark.parametrize(("classes", "says"), [(1, "2 or more"), (["0", "11"], "no class '11'")])
def test_classes_that_cannot_be(classes: int | list[str], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read_source("digits", classes=classes)
