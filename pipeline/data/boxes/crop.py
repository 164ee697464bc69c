"""A picture and the box in it that a network is to look at."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

COLUMNS = ("box_x", "box_y", "box_width", "box_height")  # of a table, of `predict`'s file and of a request
Crop = Literal["none", "box", "square"]
Plain = str | os.PathLike[str] | bytes | np.ndarray


class Boxed(NamedTuple):
    """What a picture is decoded from, and a box (4,) in it.

    Left, top, width and height are shares of the picture as it is seen upright, NaN where all of it is meant.
    """

    source: Plain
    box: np.ndarray


def boxed(sources: Sequence[Plain] | np.ndarray, boxes: np.ndarray) -> list[Boxed]:
    """Pictures (n) with their boxes (n, 4)."""
    return [Boxed(source, box) for source, box in zip(sources, boxes, strict=True)]


def unboxed(source: Plain | Boxed) -> tuple[Plain, np.ndarray | None]:
    """A picture, and the box in it where there is one."""
    if not isinstance(source, Boxed):
        return source, None
    return source.source, None if np.isnan(source.box).any() else source.box


def least_side(side: int, box: np.ndarray, crop: Crop) -> int:
    """The shorter side that a picture needs so that what is cut from it has one of at least `side` pixels."""
    share = float(max(box[2:]) if crop == "square" else min(box[2:]))
    return math.ceil(side / min(max(share, 1e-3), 1))


def cut(pixels: torch.Tensor, box: np.ndarray, crop: Crop, margin: float) -> torch.Tensor:
    """(3, h, w) -> what lies in the box and `margin` times its longer side around it, at least a pixel.

    `square`: the least square about that, moved into the picture where it stands over. Where it is larger than the
    picture it is cut off at its edges.
    """
    height, width = pixels.shape[-2:]
    left, top, wide, high = (float(share) * side for share, side in zip(box, (width, height) * 2, strict=True))
    around = margin * max(wide, high)
    most = max(wide, high)
    across, down = (most, most) if crop == "square" else (wide, high)
    left, right = _span(left + wide / 2, across + 2 * around, width, moves=crop == "square")
    top, bottom = _span(top + high / 2, down + 2 * around, height, moves=crop == "square")
    return pixels[:, int(top) : int(bottom), int(left) : int(right)]


def _span(middle: float, length: float, side: int, *, moves: bool) -> tuple[int, int]:
    """Where a length about a middle begins and ends within 0 and `side`; whole pixels."""
    start = middle - length / 2
    if moves:
        start = max(min(start, side - length), 0)
    first = min(max(round(start), 0), side - 1)
    return first, min(max(round(start + length), first + 1), side)
