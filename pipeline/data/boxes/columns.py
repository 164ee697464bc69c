"""Boxes from columns of a table: checked, and as shares of each picture."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.data.boxes.crop import COLUMNS, Plain
from pipeline.data.cells import numbers, whose
from pipeline.data.reading.decoding import upright_size

Unit = Literal["pixels", "shares"]
_SLACK = 0.02  # of a side, by which a detector's rounding or a careless hand may pass the picture's edge
_THREADS = 8
_OUTSIDE = "lies outside the picture, of which these are shares; correct it, or leave it out"


def boxes_of(
    rows: pd.DataFrame,
    unit: Unit,
    pictures: Callable[[np.ndarray], Sequence[Plain] | np.ndarray],
    *,
    columns: Sequence[str] = COLUMNS,
    unit_key: str = "data.box_unit",
) -> np.ndarray:
    """(n, 4) float32 of left, top, width and height as shares; NaN where all four are blank.

    `pictures` gives those of some rows (k,), whose sizes are looked up where boxes are in pixels. BadInput, which names
    the picture, for a box that is not whole, of no area, outside the picture, or in another unit than `unit`, which
    `unit_key` says (none: shares it is).
    """
    missing = [column for column in columns if column not in rows]
    if missing:
        raise BadInput(f"there is no column {missing[0]!r}{did_you_mean(missing[0], map(str, rows.columns))}")
    found = np.stack([numbers(rows, column, "correct it, or leave the box blank") for column in columns], axis=1)
    found[np.isinf(found)] = np.nan
    given = ~np.isnan(found)
    _check(rows, given.any(axis=1) & ~given.all(axis=1), found, "is not whole: give all four numbers, or none")
    boxed = np.flatnonzero(given.all(axis=1))
    _check(rows, given.all(axis=1) & (found[:, 2:] <= 0).any(axis=1), found, "has no area")
    if unit == "pixels" and len(boxed):
        if found[boxed].max() <= 1:
            raise BadInput(f"{unit_key}=pixels: no number of any box is above 1: they are shares, {unit_key}=shares")
        with ThreadPoolExecutor(_THREADS) as pool:
            sizes = np.array(list(pool.map(upright_size, pictures(boxed), chunksize=64)), np.float64)
        known = sizes.all(axis=1)  # of what cannot be read, decoding tells
        found[boxed[~known]] = np.nan
        found[boxed[known]] /= np.tile(sizes[known], 2)
    else:
        remedy = f"say {unit_key}=pixels" if unit_key else "divide by the picture's width and height"
        odd = (found > 1 + _SLACK).any(axis=1)
        _check(rows, odd, found, f"is of pixels, where shares of the picture (0 to 1) are meant: {remedy}")
    start, end = found[:, :2], found[:, :2] + found[:, 2:]
    outside = ((start < -_SLACK) | (end > 1 + _SLACK)).any(axis=1)
    _check(rows, outside, found, _OUTSIDE)
    start, end = start.clip(0, 1), end.clip(0, 1)
    _check(rows, (end <= start).any(axis=1), found, _OUTSIDE)
    return np.concatenate([start, end - start], axis=1).astype(np.float32)


def _check(rows: pd.DataFrame, odd: Any, boxes: np.ndarray, why: str) -> None:
    if odd.any():
        row = int(np.flatnonzero(odd)[0])
        told = ", ".join(f"{number:.4g}" for number in boxes[row])
        raise BadInput(f"{whose(rows, row)}: its box ({told}) {why}")
