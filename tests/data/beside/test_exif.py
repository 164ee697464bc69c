"""What cameras note of a picture."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.data.beside.exif import with_exif


def picture(taken=None, changed=None, place=None, sides=("NS", "EW")):
    image, notes = Image.new("RGB", (8, 8)), Image.Exif()
    if changed:
        notes[0x0132] = changed
    if taken:
        notes.get_ifd(0x8769)[0x9003] = taken
    if place:
        north, east = place
        notes.get_ifd(0x8825).update({
            1: sides[0][north < 0 :][:1], 2: (abs(north) // 1, abs(north) % 1 * 60, 0.0),
            3: sides[1][east < 0 :][:1], 4: (abs(east) // 1, abs(east) % 1 * 60, 0.0),
        })  # fmt: skip
    stream = io.BytesIO()
    image.save(stream, "JPEG", exif=notes)
    return stream.getvalue()


def test_date_and_place_are_read_and_nonsense_is_none():
    pictures = [
        picture("2021:05:31 10:11:12", "2022:01:01 00:00:00", (12.5, -70.25)), picture(changed="2022:01:02 03:04:05"),
        picture("0000:00:00 00:00:00", place=(0.0, 0.0)), picture("2021:02:31 00:00:00", place=(99.0, 10.0)), b"none",
        np.zeros((8, 8, 3), np.uint8),
    ]  # fmt: skip
    wanted = ["exif.date", "exif.latitude", "exif.longitude"]
    rows = with_exif(pd.DataFrame(index=range(6)), wanted, lambda: pictures)
    assert rows["exif.date"].fillna("").tolist() == ["2021-05-31", "2022-01-02", "", "", "", ""]
    assert rows["exif.latitude"].tolist()[0] == pytest.approx(12.5)
    assert rows["exif.longitude"].tolist()[0] == pytest.approx(-70.25)
    assert rows["exif.latitude"].isna().tolist() == [False, True, True, True, True, True]


def test_what_is_there_or_not_wanted_is_not_read():
    rows = pd.DataFrame({"exif.date": ["2020-01-01"]})
    assert with_exif(rows, ["exif.date", "region"], pytest.fail) is rows


def test_a_side_of_the_globe_is_read_as_bytes_too_and_is_never_guessed():
    sides = [(b"NS", b"EW"), ("ns", "ew"), ("??", "??")]
    pictures = [picture(place=(-33.5, 18.0), sides=two) for two in sides]
    rows = with_exif(pd.DataFrame(index=range(3)), ["exif.latitude"], lambda: pictures)
    assert rows["exif.latitude"].fillna(0).tolist() == [-33.5, -33.5, 0]


def test_notes_that_are_broken_are_none_without_a_word(recwarn):
    whole = bytearray(picture("2021:05:31 10:11:12", place=(12.5, -70.25)))
    start = whole.index(b"Exif")
    broken = [bytes(whole[:place] + b"\xff" + whole[place + 1 :]) for place in range(start + 6, start + 200)]
    rows = with_exif(pd.DataFrame(index=range(len(broken))), ["exif.latitude"], lambda: broken)
    assert rows["exif.latitude"].isna().any()
    assert rows["exif.latitude"].dropna().between(-90, 90).all()
    assert not recwarn.list
