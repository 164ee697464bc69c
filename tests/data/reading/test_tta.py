import pytest
import torch

from pipeline.data.batch import Inputs
from pipeline.data.reading.tta import canvas, shown


def test_one_view_is_the_picture_itself():
    pictures = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert canvas("none", 8) == 8
    inputs = Inputs(pictures)
    assert shown("none", inputs, 8) == [inputs]


def test_flips_are_the_picture_and_its_mirror_image():
    pictures = torch.arange(3 * 4, dtype=torch.uint8).reshape(1, 1, 3, 4).expand(1, 3, 3, 4)
    one, other = shown("flips", Inputs(pictures), 4)
    assert torch.equal(one.pixels.flip(-1), other.pixels)


@pytest.mark.parametrize("size", [7, 32, 224])
def test_ten_crops_show_corners_and_middle_both_ways(size):
    side = canvas("tencrop", size)
    assert side >= size
    pictures = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    views = [view.pixels for view in shown("tencrop", Inputs(pictures), size)]
    assert {tuple(view.shape) for view in views} == {(2, 3, size, size)}
    assert len(views) == 10
    assert torch.equal(views[0], pictures[..., :size, :size])
    assert torch.equal(views[3], pictures[..., side - size :, side - size :])
