"""Boxes in columns: checked, and as shares of each picture."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.common.errors import BadInput
from pipeline.data.boxes.columns import boxes_of
from pipeline.data.boxes.crop import COLUMNS


@pytest.fixture
def picture(tmp_path):
    """200 by 100 pixels as it is seen, stored lying on its side."""
    lying = Image.new("RGB", (100, 200))
    notes = lying.getexif()
    notes[0x0112] = 6
    lying.save(tmp_path / "a.jpg", exif=notes)
    return tmp_path / "a.jpg"


def read(*boxes, unit="shares", picture=None):
    rows = pd.DataFrame(list(boxes), columns=list(COLUMNS), dtype=object)
    rows.insert(0, "path", [f"{number}.jpg" for number in range(len(boxes))])
    return boxes_of(rows, unit, lambda some: [picture] * len(some))


def test_pixels_are_of_the_picture_as_it_is_seen(picture):
    assert read((50, 25, "100", 50), unit="pixels", picture=picture).tolist() == [[0.25, 0.25, 0.5, 0.5]]


def test_a_picture_may_have_no_box_and_a_box_pass_the_edge_a_little():
    found = read((None, "", np.nan, None), (0.5, 0.5, 0.51, 0.5))
    assert np.isnan(found[0]).all()
    assert found[1] == pytest.approx([0.5, 0.5, 0.5, 0.5])


@pytest.mark.parametrize(
    ("box", "unit", "said"),
    [
        ((0.1, 0.1, 0, 0.5), "shares", "1.jpg: its box .* has no area"),
        ((0.1, 0.1, 0.5, -1), "shares", "1.jpg: its box .* has no area"),
        ((0.8, 0.1, 0.5, 0.5), "shares", "1.jpg: its box .* lies outside the picture"),
        ((150, 10, 100, 20), "pixels", "1.jpg: its box .* lies outside the picture"),
        ((-90, 10, 100, 20), "pixels", "1.jpg: its box .* lies outside the picture"),
        ((50, 10, 100, 20), "shares", "1.jpg: .* is of pixels, .* say data.box_unit=pixels"),
        ((0.1, 0.1, None, 0.5), "shares", "1.jpg: its box .* is not whole"),
        ((0.1, "wide", 0.5, 0.5), "shares", "1.jpg: box_y is 'wide', no number"),
    ],
)
def test_what_is_no_box_is_named(box, unit, said, picture):
    first = (0.1, 0.1, 0.5, 0.5) if unit == "shares" else (1, 1, 10, 10)
    with pytest.raises(BadInput, match=said):
        read(first, box, unit=unit, picture=picture)


def test_shares_where_pixels_are_meant_are_told_of(picture):
    with pytest.raises(BadInput, match=r"data\.box_unit=shares"):
        read((0.1, 0.1, 0.5, 0.5), unit="pixels", picture=picture)
