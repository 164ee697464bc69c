"""Pictures of one animal: by a column, and by when a camera took them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.common.errors import BadInput
from pipeline.data.groups import with_groups
from pipeline.data.unlabelled import unlabelled_table

SHOTS = {  # when, and by which camera's number
    "a/1.jpg": ("10:00:00", ""),
    "a/2.jpg": ("10:00:50", ""),
    "a/3.jpg": ("10:01:45", ""),  # further from the first than from the one before
    "a/4.jpg": ("10:03:00", ""),
    "b/1.jpg": ("10:00:20", ""),  # another folder, perhaps another camera
    "c/1.jpg": ("10:00:10", "77"),
    "d/1.jpg": ("10:00:40", "77"),  # the same camera in the next folder
    "a/5.jpg": (None, ""),
}


@pytest.fixture
def shots(tmp_path: Path) -> list[Path]:
    for name, (time, body) in SHOTS.items():
        exif = Image.Exif()
        exif[0x0110] = "Trap 3"
        if time:
            exif.get_ifd(0x8769)[0x9003] = f"2024:05:01 {time}"
        if body:
            exif.get_ifd(0x8769)[0xA431] = body
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name, exif=exif)
    (tmp_path / "a" / "6.jpg").write_bytes(b"no picture")
    return [*(tmp_path / name for name in SHOTS), tmp_path / "a" / "6.jpg"]


def test_bursts_are_of_one_camera_and_end_where_a_pause_is_too_long(shots, caplog) -> None:
    with caplog.at_level("INFO"):
        table = with_groups(unlabelled_table(shots), "exif:60s", "group")
    names = ["a/1.jpg", "a/1.jpg", "a/1.jpg", "a/4.jpg", "b/1.jpg", "c/1.jpg", "c/1.jpg", None, None]
    assert table.rows["exif:60s"].tolist() == names
    assert "group=exif:60s: 2 pictures without a date, each by itself" in caplog.text


def test_a_column_names_groups_and_a_blank_is_alone(shots) -> None:
    table = unlabelled_table(shots)
    marked = table.with_rows(table.rows.assign(specimen=[7.0, 7.0, np.nan, *[pd.NA] * 6]))
    assert with_groups(marked, "specimen", "group").rows["specimen"].fillna("").tolist() == ["7", "7", *[""] * 7]
    with pytest.raises(BadInput, match="group=specimens: pictures has no such column; did you mean specimen"):
        with_groups(marked, "specimens", "group")
    with pytest.raises(BadInput, match="as in group=exif:60s"):
        with_groups(table, "exif:long", "group")
