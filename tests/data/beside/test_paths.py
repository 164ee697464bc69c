"""What a picture's path says of it."""

import pandas as pd
import pytest
from PIL import Image

from pipeline.common.errors import BadInput
from pipeline.data.beside.paths import labelled_by_path, names_label, with_columns_of_paths

ROWS = pd.DataFrame({"path": ["north/auk/a-1.jpg", "x/south/auk/b-2.JPEG", "c-3.jpg"], "label": list("abc")})


@pytest.mark.parametrize(
    ("pattern", "columns"),
    [
        ("{region}/{}/{}", {"region": ["north", "south", None]}),
        ("{region}/{}/{letter}-{number}", {"region": ["north", "south", None], "number": ["1", "2", None]}),
        ("{letter}-{number}.jpg", {"letter": ["a", None, "c"], "number": ["1", None, "3"]}),
    ],
)
def test_fields_become_columns_and_misses_are_named(pattern, columns, caplog):
    with caplog.at_level("WARNING"):
        found = with_columns_of_paths(ROWS, pattern)
    for column, cells in columns.items():
        assert found[column].astype(object).where(found[column].notna(), None).tolist() == cells
    assert "1 of 3 pictures do not fit" in caplog.text


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{region}/{}/{}/{}/{}", "no picture's path fits, such as north/auk/a-1.jpg"),
        ("{}/{}", "write {name} for what to keep and {} for what not"),
        ("{region/{}", "write {name}"),
        ("{a}/{a}", "{a} can name no column"),
        ("{picture_path}/{}", "{picture_path} can name no column"),
        ("{path}/{}", "{path} can name no column"),
        ("{label}/{}", "the set has a column label already; write {} for that part"),
    ],
)
def test_a_pattern_that_cannot_be_is_said(pattern, said):
    with pytest.raises(BadInput) as error:
        with_columns_of_paths(ROWS, pattern)
    assert said in str(error.value)


def test_a_folder_is_labelled_by_its_paths(tmp_path, caplog):
    for path in ("train/auk-north-1.jpg", "train/tit-south-2.jpg", "test/auk-south-3.jpg", "test/odd.jpg"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / path)
    pattern = "{split}/{label}-{region}-{specimen}.jpg"
    assert names_label(pattern)
    assert not names_label("{region}/{}")
    with pytest.raises(BadInput, match=r"test/odd\.jpg has no label"):
        labelled_by_path(str(tmp_path), pattern)
    table = labelled_by_path(str(tmp_path), pattern, on_unreadable="skip")
    assert table.classes == ["auk", "tit"]
    assert table.rows["split"].tolist() == ["test", "train", "train"]
    assert table.further == ["region", "specimen"]
    assert list(table.skipped) == ["test/odd.jpg"]
