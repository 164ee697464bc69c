"""Random changes to training pictures: named recipes of torchvision's transforms, on uint8 pixels.

All chance is drawn from torch's own generator, so whoever seeds that repeats the picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torchvision.transforms import v2

from pipeline.common.errors import BadInput, did_you_mean

_BILINEAR = v2.InterpolationMode.BILINEAR
_TRIED = 32  # pixels a side are enough to see whether a recipe works
Range = tuple[float, float]


@dataclass(frozen=True)
class Augmentation:
    """`transform`: (3, c, c) uint8 -> (3, s, s) uint8, c being s times `canvas`: room to cut from."""

    transform: Callable[[torch.Tensor], torch.Tensor]
    canvas: float = 1.0


def build_augmentation(name: str, image_size: int, **options: object) -> Augmentation:
    """The recipe of a name, for pictures of `image_size`; `options` are the arguments of its function below.

    Raises `BadInput` for an unknown recipe or option, or a value that torchvision refuses.
    """
    recipe = RECIPES.get(name)
    if recipe is None:
        raise BadInput(f"augmentation: {name!r} is not known{did_you_mean(name, RECIPES)}")
    known = (recipe.__kwdefaults__ or {}).keys()
    for key in options.keys() - known:
        raise BadInput(f"augmentation.options: {name} has no {key!r}{did_you_mean(str(key), known)}")
    try:
        made = recipe(image_size, **options)
        _try_out(made, image_size)
    except (TypeError, ValueError, ArithmeticError, RuntimeError, IndexError) as error:
        raise BadInput(f"augmentation.options of {name}: {str(error).partition(chr(10))[0]}") from error
    return made


def _try_out(made: Augmentation, image_size: int) -> None:
    """Change one picture: some values torchvision refuses only when they are used. Nobody's chance is drawn from."""
    side = round(made.canvas * min(image_size, _TRIED))
    with torch.random.fork_rng(devices=[]):
        made.transform(torch.zeros(3, side, side, dtype=torch.uint8))


def _ordered(name: str, given: Range, most: float) -> Range:
    """A range of what is above 0 and at most `most`. ValueError where it is none."""
    low, high = given
    if not 0 < low <= high <= most:
        raise ValueError(f"{name}={list(given)} is no range: two numbers above 0, the smaller first, up to {most:g}")
    return low, high


def none(image_size: int) -> Augmentation:
    """Pictures as they are."""
    return Augmentation(v2.Identity())


def flip_rotate(image_size: int, *, flip: float = 0.5, degrees: float = 10, fill: float = 0) -> Augmentation:
    """Mirrored with probability `flip`, turned by up to `degrees` either way (the species study)."""
    return _chain(
        v2.RandomHorizontalFlip(flip),
        v2.RandomRotation(degrees, interpolation=_BILINEAR, fill=fill),
    )


def affine(
    image_size: int, *, degrees: float = 10, shift: float = 0.06, zoom: float = 0.1, fill: float = 0
) -> Augmentation:
    """For things with one right way to look (digits, labels): turned, moved and zoomed a little, never mirrored.

    `shift` is a share of the side, `zoom` of the size.
    """
    return _chain(
        v2.RandomAffine(
            degrees, translate=(shift, shift), scale=(1 - zoom, 1 + zoom), interpolation=_BILINEAR, fill=fill
        )
    )


def crop_jitter(
    image_size: int,
    *,
    scale: Range = (0.5, 1.0),
    ratio: Range = (3 / 4, 4 / 3),
    flip: float = 0.5,
    brightness: float = 0.2,
    contrast: float = 0.2,
    saturation: float = 0.2,
    hue: float = 0.05,
    degrees: float = 10,
    fill: float = 0,
    canvas: float = 1.25,
) -> Augmentation:
    """A random part, mirrored, recoloured, turned (the birds study).

    `scale` and `ratio` are the part's share of the area and its shape; `canvas` is how much larger than
    needed pictures are read, so that a part need not be blown up.
    """
    return _chain(
        v2.RandomRotation(degrees, interpolation=_BILINEAR, fill=fill),
        v2.RandomResizedCrop(
            image_size, scale=_ordered("scale", scale, 1), ratio=_ordered("ratio", ratio, 100), antialias=True
        ),
        v2.RandomHorizontalFlip(flip),
        v2.ColorJitter(brightness, contrast, saturation, hue),
        canvas=canvas,
    )


def shells(
    image_size: int,
    *,
    flip: float = 0.5,
    degrees: float = 45,
    rotation: float = 0.5,
    zoom: float = 0.2,
    noise: float = 0.2,
    fill: float = 0,
) -> Augmentation:
    """For things without an upright side (the cone-shell study).

    Mirrored both ways, each with probability `flip`; turned by up to `degrees` with probability `rotation`;
    larger or smaller by up to `zoom`; each value moved by up to `noise` of the whole range.
    """
    return _chain(
        v2.RandomHorizontalFlip(flip),
        v2.RandomVerticalFlip(flip),
        v2.RandomApply([v2.RandomRotation(degrees, interpolation=_BILINEAR, fill=fill)], rotation),
        v2.RandomAffine(0, scale=(1 - zoom, 1 + zoom), interpolation=_BILINEAR, fill=fill),
        PixelNoise(noise),
    )


def trivial(image_size: int, *, bins: int = 31, fill: float = 0) -> Augmentation:
    """One random change of random strength (TrivialAugmentWide; Müller and Hutter 2021, arXiv:2103.10158)."""
    return _chain(v2.TrivialAugmentWide(bins, interpolation=_BILINEAR, fill=fill))


class PixelNoise(torch.nn.Module):
    """Moves each value at random by up to a strength, drawn for each picture from 0 to `most` (of 255)."""

    def __init__(self, most: float) -> None:
        super().__init__()
        if not 0 <= most <= 1:
            raise ValueError(f"noise is a part of the whole range, between 0 and 1, not {most}")
        self.most = most

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """(3, s, s) uint8 -> the same shape."""
        strength = 255 * self.most * torch.rand(())
        moved = picture + (2 * torch.rand(picture.shape) - 1) * strength
        return moved.round_().clamp_(0, 255).to(torch.uint8)


def _chain(*steps: torch.nn.Module, canvas: float = 1.0) -> Augmentation:
    if canvas < 1:
        raise ValueError(f"canvas must be at least 1, not {canvas}")
    return Augmentation(v2.Compose(list(steps)), canvas)


RECIPES: dict[str, Callable[..., Augmentation]] = {
    recipe.__name__: recipe for recipe in (none, flip_rotate, affine, crop_jitter, shells, trivial)
}
