"""How a picture becomes what a network sees: the same object at training, at validation and when served."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import prod
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from torchvision.transforms.v2 import InterpolationMode, functional

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.data.boxes.crop import Boxed, Crop, Plain, cut, least_side, unboxed
from pipeline.data.reading.decoding import decode_at

Colour = tuple[float, float, float]
Fit = Literal["squash", "crop", "pad"]
Interpolation = Literal["bilinear", "bicubic"]
Source = Plain | Boxed


_OF_BOXES = ("crop", "margin")


@dataclass(frozen=True)
class Preprocessing:
    """Pictures to squares of `image_size` pixels a side.

    `fit`: `squash` rescales both sides, `crop` takes the largest square in the middle, `pad` shows the whole
    picture on a ground of the mean colour. `mean` and `std` (of values in 0..1; ImageNet's by default) are
    applied inside the network, so pictures stay uint8 up to it. `crop`: what is looked at of a picture that has a box:
    all of it, the box and `margin` times its longer side around it, or the square about that.
    """

    image_size: int
    fit: Fit = "squash"
    interpolation: Interpolation = "bilinear"
    mean: Colour = (0.485, 0.456, 0.406)
    std: Colour = (0.229, 0.224, 0.225)
    crop: Crop = "none"
    margin: float = 0.0

    def __post_init__(self) -> None:
        if self.image_size < 1:
            raise BadInput(f"data.image_size: {self.image_size} is no size; it is a number of pixels, such as 224")
        for key, value, known in (
            ("fit", self.fit, Fit),
            ("interpolation", self.interpolation, Interpolation),
            ("crop", self.crop, Crop),
        ):
            if value not in get_args(known):
                raise BadInput(f"data.{key}: {value!r} is not known{did_you_mean(value, get_args(known))}")

    @property
    def parts(self) -> "tuple[Preprocessing, ...]":
        """Itself, as `Joined` has several."""
        return (self,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is read of a picture."""
        return 3, self.image_size, self.image_size

    def read(self, source: Source) -> torch.Tensor:
        """(3, image_size, image_size) uint8 of a file, its bytes, or pixels (h, w, 3). Raises `UnreadablePicture`."""
        return _read(source, (self,))[0]

    def least_side(self, box: np.ndarray | None) -> int:
        """The shorter side, in pixels, that a picture needs so that nothing is lost."""
        return self.image_size if box is None or self.crop == "none" else least_side(self.image_size, box, self.crop)

    def cropped(self, pixels: torch.Tensor, box: np.ndarray | None) -> torch.Tensor:
        """What is looked at of (3, h, w)."""
        return pixels if box is None or self.crop == "none" else cut(pixels, box, self.crop, self.margin)

    def fit_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """(3, h, w) uint8 -> (3, image_size, image_size) uint8, antialiased."""
        height, width = pixels.shape[-2:]
        if self.fit == "crop":
            pixels = functional.center_crop(pixels, [min(height, width)] * 2)
        if self.fit == "pad" and height != width:
            return self._padded(pixels)
        return self._resized(pixels, self.image_size, self.image_size)

    def resized_to(self, image_size: int) -> "Preprocessing":
        """The same for another size."""
        return replace(self, image_size=image_size)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; what crops nothing is written as it was before there were boxes."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {key: value for key, value in plain.items() if self.crop != "none" or key not in _OF_BOXES}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """What `to_dict` wrote. Raises `BadInput` for a key that is missing or not known."""
        known = {field.name for field in fields(cls)}
        if set(plain) not in (known, known.difference(_OF_BOXES)):
            raise BadInput(f"preprocessing: keys {sorted(plain)} where {sorted(known)} are expected")
        values: dict[str, Any] = {**plain, "mean": tuple(plain["mean"]), "std": tuple(plain["std"])}
        return cls(**values)

    def _resized(self, pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
        mode = InterpolationMode(self.interpolation)
        return functional.resize(pixels, [height, width], interpolation=mode, antialias=True)

    def _padded(self, pixels: torch.Tensor) -> torch.Tensor:
        side, longest = self.image_size, max(pixels.shape[-2:])
        height, width = (max(1, round(length * side / longest)) for length in pixels.shape[-2:])
        ground = torch.tensor([round(255 * value) for value in self.mean], dtype=torch.uint8)
        square = ground.view(3, 1, 1).repeat(1, side, side)
        top, left = (side - height) // 2, (side - width) // 2
        square[:, top : top + height, left : left + width] = self._resized(pixels, height, width)
        return square


@dataclass(frozen=True)
class Joined:
    """Pictures as several networks beside each other see them: each in its own way, one after the other in a row."""

    parts: tuple[Preprocessing, ...]

    @property
    def image_size(self) -> int:
        """The largest, which is the one that takes the most to read."""
        return max(part.image_size for part in self.parts)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is read of a picture."""
        return (sum(prod(part.shape) for part in self.parts),)

    def read(self, source: Source) -> torch.Tensor:
        """(bytes,) uint8, what each part reads, flattened; decoded once. Raises `UnreadablePicture`."""
        return torch.cat([read.flatten() for read in _read(source, self.parts)])

    def split(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """What is read of n pictures, (n, bytes) -> each part's (n, 3, its size, its size)."""
        lengths = [prod(part.shape) for part in self.parts]
        rows = torch.split(pixels, lengths, dim=1)
        return [some.view(len(some), *how.shape) for how, some in zip(self.parts, rows, strict=True)]


def _read(source: Source, ways: Sequence[Preprocessing]) -> list[torch.Tensor]:
    """A picture read in each of these ways, decoded once."""
    plain, box = unboxed(source)
    if isinstance(plain, np.ndarray):
        decoded = [plain] * len(ways)
    else:
        decoded = decode_at(plain, [how.least_side(box) for how in ways])
    planes = (torch.from_numpy(one).permute(2, 0, 1) for one in decoded)
    return [how.fit_pixels(how.cropped(one, box)) for how, one in zip(ways, planes, strict=True)]


# How pictures are read, for whichever network.
Reading = Preprocessing | Joined


def looks_at_boxes(how: Reading) -> bool:
    """Whether a box in a picture makes a difference."""
    return any(part.crop != "none" for part in how.parts)
