"""When an exported file is told for another model than its original."""

import numpy as np
import pytest

from pipeline.common.errors import Stopped
from pipeline.data.reading.decoding import UnreadablePicture
from pipeline.exporting.checking import Measured, check_same, pictures_of


def measured(*likely):
    """Of two classes, by the probability of the first."""
    return Measured("ONNX", 1, np.array([[one, 1 - one] for one in likely]), 1.0)


def test_what_differs_in_a_digit_that_counts_is_not_the_same():
    original = measured(0.9, 0.5002)
    check_same(original, measured(0.9009, 0.4998))  # the second is as good as a tie
    with pytest.raises(Stopped, match=r"on 1 of 2 val pictures, by up to 0\.0011 of"):
        check_same(original, measured(0.9011, 0.5002))
    with pytest.raises(Stopped, match="on 2 of 2"):
        check_same(original, measured(np.nan, 0.1))


def test_a_picture_that_cannot_be_read_any_more_is_named(tmp_path):
    (tmp_path / "auk.jpg").write_bytes(b"no picture")
    with pytest.raises(UnreadablePicture, match=r"auk\.jpg is not a picture"):
        pictures_of([str(tmp_path / "auk.jpg")])
