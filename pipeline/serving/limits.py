"""How much one request to the served model may ask for, so that nobody can choke it for the others.

A few hundred kilobytes can hold a picture of 170 megapixels, which take seconds and gigabytes to decode. Training, and
`predict` on one's own machine, read whatever fits.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Self

import numpy as np
import torch

from pipeline.common.errors import BadInput
from pipeline.data.boxes.crop import Plain, unboxed
from pipeline.data.reading.decoding import pixels_to_decode
from pipeline.data.reading.preprocessing import Preprocessing, Reading, Source

PICTURES_VARIABLE = "PIPELINE_SERVED_PICTURES"  # set where the server is started, they replace the defaults
MEGAPIXELS_VARIABLE = "PIPELINE_SERVED_MEGAPIXELS"
SECONDS_VARIABLE = "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT"  # how MLflow tells its server when to answer 504
_AT_ONCE = 4  # pictures of the largest size that one request may hold
_LARGE = 5_000_000  # pixels from which decoding leaves memory behind that is worth giving back


@dataclass(frozen=True)
class Limits:
    """`pictures` a request, `megapixels` a picture (those that decoding it has in memory at once), and `seconds`.

    Ordinary JPEGs are decoded at a reduced size, so that those of any camera are let through; PNG, WebP, TIFF and
    progressive JPEG count as they are. A request holds at most 4 times the pixels of the largest picture.
    After `seconds` the asker has been told 504, so the work goes on no longer. `keys`: by what the first
    two are set.
    """

    pictures: int = 256
    megapixels: int = 50
    seconds: float = inf
    keys: tuple[str, str] = (PICTURES_VARIABLE, MEGAPIXELS_VARIABLE)

    @classmethod
    def from_environment(cls) -> Self:
        """The defaults, or what the variables say. BadInput where that is no count."""
        asked: dict[str, Any] = {}
        for name, variable in (
            ("pictures", PICTURES_VARIABLE),
            ("megapixels", MEGAPIXELS_VARIABLE),
            ("seconds", SECONDS_VARIABLE),
        ):
            given = os.environ.get(variable)
            if given is not None:
                if not given.isdecimal() or not int(given):
                    raise BadInput(f"{variable}={given}: a whole number, at least 1")
                asked[name] = int(given)
        return cls(**asked)

    def check_count(self, pictures: int) -> None:
        """Raise BadInput for more pictures than a request may hold."""
        if pictures > self.pictures:
            raise BadInput(
                f"{pictures:,} pictures in a request: at most {self.pictures:,} ({self.keys[0]}): send several"
            )

    def check_pixels(self, pictures: Sequence[Source], shown: Collection[Reading]) -> bool:
        """Raise BadInput for too large pictures, which are not decoded for it; gives whether one is worth a clean-up.

        `shown` is how the networks see pictures: each way decodes them once.
        """
        ways, most = [part for how in shown for part in how.parts], self.megapixels * 1_000_000
        sizes = [_size(*unboxed(picture), ways) for picture in pictures]
        for place, pixels in enumerate(sizes):
            if pixels > most:
                raise BadInput(
                    f"picture {place}: {pixels / 1e6:,.0f} megapixels to decode, at most {self.megapixels} "
                    f"({self.keys[1]}): make it smaller, or save it as an ordinary (baseline) JPEG"
                )
        if sum(sizes) * len(shown) > _AT_ONCE * most:
            raise BadInput(
                f"{sum(sizes) / 1e6:,.0f} megapixels to decode in a request, at most "
                f"{_AT_ONCE * self.megapixels // len(shown):,}: send the pictures in several, or smaller"
            )
        return max(sizes, default=0) > _LARGE


def _size(picture: Plain, box: np.ndarray | None, ways: Collection[Preprocessing]) -> int:
    """Pixels to decode; more of a picture of which a small box is looked at."""
    assert isinstance(picture, bytes)
    return pixels_to_decode(picture, max(how.least_side(box) for how in ways))


def give_back_memory() -> None:
    """Return to the system what large pictures took: glibc keeps much of it for each of the server's threads."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def share_processors() -> None:
    """Have no more threads than the processors that this process has to itself, where its server has several workers.

    Each would have one a processor and wait for the others' (`bench/serving.py`). OMP_NUM_THREADS says otherwise. That
    it is one of several a worker learns from the command line of uvicorn, which it is started with, too.
    """
    _, told, given = " ".join(sys.argv).partition("--workers ")
    workers = given.partition(" ")[0]
    if told and workers.isdecimal() and int(workers) > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // int(workers)))
