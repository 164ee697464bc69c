"""What is cut out of a picture for a network, at the size that it needs."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.common.errors import BadInput
from pipeline.data.boxes.crop import Boxed, cut, least_side
from pipeline.data.reading.preprocessing import Joined, Preprocessing

BOX = np.array([0.5, 0.25, 0.25, 0.5], np.float32)
NONE = np.full(4, np.nan, np.float32)


def picture(width=80, height=40):
    """Each pixel says where it lies: red its column, green its row."""
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    return torch.from_numpy(np.stack([across, down, down * 0]).astype(np.uint8))


def extent(pixels):
    """Left, top, right, bottom of what was cut."""
    return [int(pixels[0].min()), int(pixels[1].min()), int(pixels[0].max()) + 1, int(pixels[1].max()) + 1]


def test_a_box_and_its_margin_are_cut_out():
    assert extent(cut(picture(), BOX, "box", 0)) == [40, 10, 60, 30]
    assert extent(cut(picture(), BOX, "box", 0.1)) == [38, 8, 62, 32]
    assert extent(cut(picture(), BOX, "box", 9)) == [0, 0, 80, 40]


def test_a_square_is_moved_into_the_picture():
    corner = np.array([0.75, 0, 0.25, 0.25], np.float32)  # 20 by 10 pixels, in the corner
    assert extent(cut(picture(), corner, "square", 0)) == [60, 0, 80, 20]
    assert extent(cut(picture(), corner, "box", 0)) == [60, 0, 80, 10]
    wide = np.array([0.1, 0.4, 0.8, 0.2], np.float32)  # no square of 64 fits into 40
    assert extent(cut(picture(), wide, "square", 0)) == [8, 0, 72, 40]


@pytest.mark.parametrize("box", [(0, 0, 1e-4, 1e-4), (0.9999, 0.9999, 1e-4, 1e-4)])
@pytest.mark.parametrize("crop", ["box", "square"])
def test_there_is_always_a_pixel(box, crop):
    assert cut(picture(), np.array(box, np.float32), crop, 0).numel()


def test_a_network_sees_the_box_of_a_picture_that_has_one():
    pixels = picture().permute(1, 2, 0).numpy()
    whole, looks = Preprocessing(20), Preprocessing(20, crop="box")
    assert torch.equal(looks.read(Boxed(pixels, BOX)), picture()[:, 10:30, 40:60])
    assert torch.equal(looks.read(Boxed(pixels, NONE)), whole.read(pixels))
    assert torch.equal(whole.read(Boxed(pixels, BOX)), whole.read(pixels))
    beside = Joined((looks, whole))
    seen = beside.split(beside.read(Boxed(pixels, BOX))[None])
    assert torch.equal(seen[0][0], looks.read(Boxed(pixels, BOX)))
    assert torch.equal(seen[1][0], whole.read(pixels))


@pytest.mark.parametrize("crop", ["box", "square"])
def test_a_small_box_in_a_large_photograph_is_as_sharp_as_the_file_has_it(crop):
    chance = np.random.default_rng(0)
    coarse = Image.fromarray(chance.integers(0, 255, (40, 60, 3), dtype=np.uint8)).resize((3000, 2000), 0)
    file = io.BytesIO()
    coarse.save(file, "JPEG", quality=95)
    box = np.array([0.3, 0.3, 0.05, 0.05], np.float32)  # 150 by 100 pixels
    found = Preprocessing(96, crop=crop).read(Boxed(file.getvalue(), box))
    pixels = np.array(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))
    wanted = Preprocessing(96, crop=crop).read(Boxed(pixels, box))
    assert (found.float() - wanted.float()).abs().mean() < 3
    assert least_side(96, box, crop) == 1920


def test_it_is_stored_as_before_where_nothing_is_cropped():
    assert "crop" not in Preprocessing(8).to_dict()
    for how in (Preprocessing(8), Preprocessing(8, crop="square", margin=0.2)):
        assert Preprocessing.from_dict(how.to_dict()) == how
    with pytest.raises(BadInput, match=r"data\.crop"):
        Preprocessing(8, crop="circle")  # type: ignore[arg-type]  # that it is none is the point
