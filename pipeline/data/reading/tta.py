"""Test-time views: a picture shown to a network in several ways, whose answers are averaged."""

from collections.abc import Sequence
from typing import Literal

from torchvision.transforms.v2 import functional

from pipeline.data.batch import Inputs

Views = Literal["none", "flips", "tencrop"]
_MARGIN = 256 / 224  # crops are taken from a picture that much larger, as is usual for ImageNet


def canvas(views: Views, image_size: int) -> int:
    """The side, in pixels, at which pictures are read for these views."""
    return round(image_size * _MARGIN) if views == "tencrop" else image_size


def shown(views: Views, inputs: Inputs, image_size: int) -> Sequence[Inputs]:
    """Pixels (n, 3, c, c) read at the canvas's side -> the views, each (n, 3, image_size, image_size).

    `flips`: the picture and its mirror image. `tencrop`: four corners and the middle, and their mirror images
    (Krizhevsky et al. 2012).
    """
    pixels = inputs.pixels
    if views == "none" or pixels is None:
        return [inputs]
    seen = [pixels, pixels.flip(-1)] if views == "flips" else functional.ten_crop(pixels, [image_size, image_size])
    return [inputs._replace(pixels=view) for view in seen]
