"""When and where a picture was taken, as its camera noted it: columns `exif.date`, `exif.latitude`, `exif.longitude`.

Notes that cannot be (a clock that was never set, a place at 0, 0) are none.
"""

import os
import warnings
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.data.members import for_pillow

DATE, LATITUDE, LONGITUDE = COLUMNS = ("exif.date", "exif.latitude", "exif.longitude")
_EXIF, _GPS, _TAKEN, _CHANGED = 0x8769, 0x8825, 0x9003, 0x0132  # Exif 2.32: the directories, and tags of dates
_MODEL, _BODY = 0x0110, 0xA431
_THREADS = 8

Picture = str | os.PathLike[str] | bytes | np.ndarray


def with_exif(
    rows: pd.DataFrame, wanted: Collection[str], pictures: Callable[[], Sequence[Picture] | np.ndarray]
) -> pd.DataFrame:
    """The rows with those EXIF columns that are `wanted` and not there yet, read from what `pictures` gives."""
    missing = [column for column in COLUMNS if column in wanted and column not in rows]
    if not missing:
        return rows
    with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as pool:
        warnings.simplefilter("ignore", UserWarning)  # Pillow's, of each broken note
        found = list(pool.map(_noted, pictures(), chunksize=64))
    return rows.assign(**{column: [one.get(column) for one in found] for column in missing})


class Taken(NamedTuple):
    """When a picture was taken, and by which camera: its `model` and its `body`'s number. None, "": not noted."""

    time: datetime | None = None
    model: str = ""
    body: str = ""


def taken(pictures: Sequence[Picture] | np.ndarray) -> list[Taken]:
    """When and by which camera pictures were taken."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(_taken, pictures, chunksize=64))


def _taken(picture: Picture) -> Taken:
    found = Taken()
    if isinstance(picture, np.ndarray):
        return found
    with suppress(Exception):  # as below
        with Image.open(for_pillow(picture)) as image:
            notes = image.getexif()
        inner = notes.get_ifd(_EXIF)
        model, body = (str(text or "").strip("\0 ") for text in (notes.get(_MODEL), inner.get(_BODY)))
        found = Taken(None, model, body)
        return Taken(datetime.strptime(str(inner[_TAKEN])[:19], "%Y:%m:%d %H:%M:%S"), model, body)
    return found


def _noted(picture: Picture) -> dict[str, Any]:
    """What one picture's notes say; nothing where it has none, or cannot be read."""
    found: dict[str, Any] = {}
    if isinstance(picture, np.ndarray):
        return found
    with suppress(Exception):  # Pillow raises anything at all on broken files; reading the pixels tells of them
        with Image.open(for_pillow(picture)) as image:
            notes = image.getexif()
        day = str(notes.get_ifd(_EXIF).get(_TAKEN) or notes.get(_CHANGED) or "")[:10]
        with suppress(ValueError):
            found[DATE] = datetime.strptime(day, "%Y:%m:%d").strftime("%Y-%m-%d")
        place = notes.get_ifd(_GPS)
        north, east = (_degrees(place[value], place[side]) for value, side in ((2, 1), (4, 3)))
        if (north or east) and abs(north) <= 90 and abs(east) <= 180:
            found |= {LATITUDE: north, LONGITUDE: east}
    return found


def _degrees(parts: Sequence[Any], side: str | bytes) -> float:
    """Degrees, minutes and seconds as one number, below zero south and west; KeyError of no side that there is."""
    letter = (side.decode() if isinstance(side, bytes) else side)[:1].upper()  # some cameras write bytes
    value = sum(float(part) / 60**power for power, part in enumerate(parts))
    if not np.isfinite(value):
        raise ValueError
    return value * {"N": 1, "E": 1, "S": -1, "W": -1}[letter]
