"""A full check: every picture opened, decoded and measured once, by several processes."""

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from pipeline.data.reading.augmentation import Augmentation
from pipeline.data.reading.decoding import FORMATS, UnreadablePicture, read_file
from pipeline.data.reading.loading import canvas
from pipeline.data.reading.preprocessing import Fit, Preprocessing
from pipeline.data.survey.duplicates import file_digest
from pipeline.data.survey.perceptual_hash import near_groups, perceptual_hashes
from pipeline.data.table import PictureTable

_CHUNK = 64
_THUMB = 128  # pixels a side
_AROUND = 0.1  # of a box's longer side, shown around it
_FEW = 5_000  # pictures: below, starting processes takes longer than it saves
_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",),
    "WEBP": (".webp",), "BMP": (".bmp",), "TIFF": (".tif", ".tiff"),
}  # fmt: skip
_ALIKE = 4  # of 64 bits
_SMALL, _LONG, _FLAT = 32, 4.0, 2.0  # pixels a side; longer over shorter side; grey levels of deviation


@dataclass(frozen=True)
class Part:
    """Some pictures, measured. `labels` is n: a progress bar counts by it."""

    facts: list[dict[str, Any]]
    labels: range


@dataclass(frozen=True)
class Parts:
    """The pictures `rows`, measured in parts, in the order they are done; `collect` makes them one table."""

    table: PictureTable
    rows: np.ndarray
    how: Preprocessing
    workers: int = 0

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / _CHUNK)

    def __iter__(self) -> Iterator[Part]:
        if self.workers < 2 or len(self.rows) < _FEW:
            yield from (_measure_part(*job) for job in self._jobs())
            return
        jobs, spawn = self._jobs(), get_context("spawn")
        with ProcessPoolExecutor(self.workers, mp_context=spawn, initializer=_one_thread) as pool:
            first = islice(jobs, 4 * self.workers)
            waiting: set[Future[Part]] = {pool.submit(_measure_part, *job) for job in first}
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                waiting |= {pool.submit(_measure_part, *job) for job in islice(jobs, len(done))}
                yield from (future.result() for future in done)

    def _jobs(self) -> Iterator[tuple[list[int], Sequence[str] | np.ndarray, Preprocessing]]:
        for start in range(0, len(self.rows), _CHUNK):
            some = self.rows[start : start + _CHUNK]
            yield some.tolist(), self.table.sources(some), self.how


def collect(parts: list[Part]) -> pd.DataFrame:
    """A row a picture, in the table's order, with the columns of `measure`."""
    columns = (
        "row",
        "bytes",
        "digest",
        "width",
        "height",
        "format",
        "mode",
        "mean",
        "square",
        "hash",
        "odd",
        "problem",
    )
    found = pd.DataFrame([fact for part in parts for fact in part.facts], columns=columns)
    return found.sort_values("row", ignore_index=True)


def measure(row: int, source: str | np.ndarray, how: Preprocessing) -> dict[str, Any]:
    """One picture's facts.

    `bytes`, `digest`, `width`, `height` (upright), `format`, `mode`; of the pixels as a network gets them
    `mean` and `square` (three each, of values in 0..1) and `hash`, their `perceptual_hashes`; `odd`, what is unusual;
    `problem`, why it cannot be read (then the pixels' facts are missing).
    """
    facts: dict[str, Any] = {"row": row, "problem": "", "odd": "", "hash": None}
    try:
        pixels = _from_file(facts, source, how) if isinstance(source, str) else _from_memory(facts, source, how)
    except UnreadablePicture as error:
        return facts | {"problem": error.reason}
    levels = pixels.reshape(3, -1).double() / 255
    facts["mean"], facts["square"] = levels.mean(1).tolist(), (levels**2).mean(1).tolist()
    facts["hash"] = perceptual_hashes(pixels)
    facts["odd"] = ", ".join(_oddities(facts, source if isinstance(source, str) else ""))
    return facts


def look_alike(table: PictureTable, rows: tuple[int, int], how: Preprocessing) -> bool:
    """Whether one picture's perceptual hash is near to that of the other, its mirror image or a part of it.

    Of 70 photographs recompressed, halved, cropped by 3 to 10 % a side, mirrored or brightened, at least 87 % of each
    kind are within 4 bits, and no two of 833 different ones are.
    """
    one, other = (perceptual_hashes(how.read(source)) for source in table.sources(np.array(rows)))
    if one is None or other is None:
        return False
    one_group, other_group = near_groups(np.stack([one, other]), _ALIKE)
    return bool(one_group == other_group)


def _from_memory(facts: dict[str, Any], pixels: np.ndarray, how: Preprocessing) -> torch.Tensor:
    facts |= {"bytes": pixels.nbytes, "digest": file_digest(pixels.tobytes()), "format": "in memory"}
    facts |= {"height": pixels.shape[0], "width": pixels.shape[1], "mode": "RGB"}
    return how.read(pixels)


def _from_file(facts: dict[str, Any], path: str, how: Preprocessing) -> torch.Tensor:
    data = read_file(path)
    facts |= {"bytes": len(data), "digest": file_digest(data)}
    pixels = how.read(data)
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        turned = image.getexif().get(0x0112, 1) > 4
        width, height = reversed(image.size) if turned else image.size
        facts |= {"width": width, "height": height, "format": image.format, "mode": image.mode}
        facts["frames"] = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    return pixels


def _oddities(facts: dict[str, Any], path: str) -> list[str]:
    width, height, mode = facts["width"], facts["height"], facts["mode"]
    spread = max(math.sqrt(max(0.0, s - m * m)) for m, s in zip(facts["mean"], facts["square"], strict=True))
    suffix = Path(path).suffix.lower()
    known = _SUFFIXES.get(facts["format"], (suffix,))
    found = {
        f"smaller than {_SMALL} pixels": path and min(width, height) < _SMALL,
        f"over {_LONG:g} times as long as wide": max(width, height) > _LONG * min(width, height),
        "one plain colour": 255 * spread < _FLAT,
        f"{facts['format']} named {suffix or 'without a suffix'}": path and suffix not in known,
        "several pictures in one file": facts.get("frames", 1) > 1,
        {"L": "grey", "CMYK": "CMYK colours"}.get(mode, f"pixels of kind {mode}"): mode in _ODD_MODES,
    }
    return [said for said, is_so in found.items() if is_so]


_ODD_MODES = ("L", "LA", "1", "CMYK", "I", "I;16", "I;16B", "F", "P", "PA", "YCbCr", "LAB")


def thumbnails(table: PictureTable, rows: np.ndarray, most: int, fit: Fit, seed: int = 0) -> list[tuple[bytes, str]]:
    """Some of `rows` as small JPEGs, each with its label: one a class by chance, then another, up to `most`."""
    chosen = _classes_in_turn(table, rows, most, seed)
    found = jpegs(table, chosen, fit)
    return [(found[row], table.classes[table.labels[row]]) for row in chosen.tolist() if row in found]


def _classes_in_turn(table: PictureTable, rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Up to `most` of `rows` by chance: one of each class, then another of each, sorted by class."""
    order = rows[np.random.default_rng(seed).permutation(len(rows))]
    labels = table.labels[order]
    turn = pd.Series(labels).groupby(labels).cumcount().to_numpy()
    chosen = order[np.argsort(turn, kind="stable")[:most]]
    return chosen[np.argsort(table.labels[chosen], kind="stable")]


def jpegs(table: PictureTable, rows: Iterable[int], fit: Fit = "pad") -> dict[int, bytes]:
    """Small JPEGs of some pictures by their row, without those that cannot be read; of a box what is about it."""
    how, found = Preprocessing(_THUMB, fit, crop="square", margin=_AROUND), dict[int, bytes]()
    chosen = np.unique(np.fromiter(rows, dtype=np.int64))
    for row, source in zip(chosen.tolist(), table.shown(chosen), strict=True):
        with suppress(UnreadablePicture):
            found[row] = to_jpeg(how.read(source))
    return found


def to_jpeg(pixels: torch.Tensor) -> bytes:
    """(3, h, w) uint8 as a JPEG's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def augmented_views(
    table: PictureTable,
    rows: np.ndarray,
    how: Preprocessing,
    augmentation: Augmentation,
    *,
    most: int,
    views: int,
    seed: int = 0,
) -> list[list[bytes]]:
    """Up to `most` of `rows`, of as many classes as there are, as small JPEGs: each as it is, then `views` times as
    training would see it. One that cannot be read is left out.
    """  # fmt: skip
    chosen = _classes_in_turn(table, rows, most, seed)
    read = canvas(replace(how, crop="square", margin=_AROUND), augmentation)
    small, found = Preprocessing(_THUMB), list[list[bytes]]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for source in table.shown(chosen):
            with suppress(UnreadablePicture):
                pixels = read.read(source)
                shown = [pixels, *(augmentation.transform(pixels) for _ in range(views))]
                found.append([to_jpeg(small.fit_pixels(one)) for one in shown])
    return found


def _measure_part(rows: list[int], sources: Sequence[str] | np.ndarray, how: Preprocessing) -> Part:
    facts = [measure(row, source, how) for row, source in zip(rows, sources, strict=True)]
    return Part(facts, range(len(facts)))


def _one_thread() -> None:
    torch.set_num_threads(1)
