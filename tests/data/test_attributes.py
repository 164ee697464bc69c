import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import BadInput
from pipeline.data.attributes import by_picture, signatures, with_attributes
from pipeline.data.table import SPLITS, PictureTable


@pytest.fixture
def table():
    labels = pd.Categorical(["Tern", "gull", "owl"], categories=["Tern", "gull", "owl"])
    splits = pd.Categorical(["train"] * 3, categories=SPLITS)
    return PictureTable("birds", pd.DataFrame({"path": ["a", "b", "c"], "label": labels, "split": splits}))


@pytest.fixture
def known(table, tmp_path):
    def of(text):
        (tmp_path / "birds.csv").write_text(text)
        return with_attributes(table, str(tmp_path / "birds.csv"), "folder")

    return of


def test_a_file_of_ones_own(known, caplog):
    found = signatures(known("class,red,tail,grey\nowl,no,,1\ngull,0.25,yes,1\ntern,yes,no,1\n"))
    assert found.index.tolist() == ["Tern", "gull", "owl"]
    assert found.columns.tolist() == ["red", "tail"]
    np.testing.assert_array_equal(found, [[1, 0], [0.25, 1], [0, np.nan]])
    assert "1 of 3 attributes are the same of all classes, and left out: grey" in caplog.text


def test_attributes_of_pictures_are_shares_of_their_class(table, tmp_path, caplog):
    rows = pd.concat([table.rows] * 3, ignore_index=True)
    rows["path"] = [f"{split}/{number}.jpg" for number, split in enumerate(["train"] * 6 + ["test"] * 3)]
    rows["split"] = pd.Categorical(["train"] * 6 + ["test"] * 3, categories=SPLITS)
    rows["label"] = pd.Categorical(["Tern", "gull", "owl"] * 3, categories=table.classes)
    (tmp_path / "birds.csv").write_text(
        "file,red,tail\n0.jpg,yes,no\n3.jpg,no,no\n1.jpg,no,\n2.jpg,,yes\n6.jpg,yes,yes\n99.jpg,no,no\n"
    )
    known = with_attributes(table.with_rows(rows), str(tmp_path / "birds.csv"), "folder")
    found = signatures(known)
    np.testing.assert_array_equal(found, [[0.5, 0], [0, np.nan], [np.nan, 1]])  # test's are not looked at
    assert "rows of which there is no picture: 99.jpg" in caplog.text
    each = by_picture(known, ["tail", "red"], ["test/6.jpg", "train/2.jpg", "train/4.jpg"])
    np.testing.assert_array_equal(each, [[1, 1], [1, np.nan], [np.nan, np.nan]])
    assert by_picture(table, [], []) is None


def test_percent_are_shares(known):
    assert known("class,red\nowl,0.5\ngull,25\ntern,100\n").attributes["red"].tolist() == pytest.approx(
        [0.005, 0.25, 1]
    )


def test_beside_percent_a_yes_is_all_and_they_are_told_of(known, caplog):
    caplog.set_level("INFO")
    found = known("class,red,tail\nowl,yes,1.5\ngull,no,1\ntern,,true\n").attributes
    np.testing.assert_allclose(found, [[1, 0.015], [0, 0.01], [np.nan, 1]])
    assert "numbers are read as percent, as tail of owl is 1.5" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class,red\ndodo,yes\n", "attributes of 'dodo', which is no class"),
        ("class,red\nowls,yes\n", "did you mean owl"),
        ("class,red\nowl,yes\nOwl,no\n", "names 'owl' twice"),
        ("class,red\nowl,maybe\n", "red of owl is 'maybe'"),
        ("class,red\nowl,140\n", "red of owl is '140'"),
        ("class,red,red\nowl,1,0\n", "two columns are called 'red'"),
        ("class,red,Red\nowl,1,0\n", "two columns are called 'red'"),
        ("class,has_red_wing,red wing\nowl,1,0\n", "two columns are called 'red wing'"),
        ("bird,red\nowl,1\n", "no column 'class'"),
        ("path,red\na,1\na,0\n", "names 'a' twice"),
        ("path,red\nz,1\n", "none of its pictures is one of these"),
        ("path,red\nb,maybe\n", "red of b is 'maybe'"),
        ("class,red\nowl,yes\ntern,no\n", "no row for gull; add one"),
        ("class,red\nowl,1\ntern,1\ngull,\n", "no attribute tells any two classes apart"),
    ],
)
def test_what_will_not_do(known, text, said):
    with pytest.raises(BadInput, match=said) as told:
        signatures(known(text))
    assert "\n" not in str(told.value)


def test_without_any(table):
    with pytest.raises(BadInput, match=r"data\.attributes=class is for data=cub200"):
        with_attributes(table, "class", "folder")
    with pytest.raises(BadInput, match=r"data\.attributes: name a CSV"):
        signatures(table)
