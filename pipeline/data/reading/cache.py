"""Decoded, resized pictures kept between epochs and runs, so that each is decoded once.

A file has a slot a row of the table: a checksum and the pixels. It begins empty (sparse) and fills as pictures are
read, by any number of workers and runs at once: all would write the same bytes. A picture counts only when its
checksum is right, so a write that was cut short is simply made again, and the file may be deleted at any time.
"""

import logging
import os
import tempfile
import zlib
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from shutil import disk_usage
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock

from pipeline.common.atomic import clear_abandoned, held_folder, write_atomically
from pipeline.data.digest import content_digest
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.table import PictureTable

# Part of every key: raise it when decoding changes what pictures look like.
_VERSION = 2
_CHECK = np.dtype("<u4")
_SHARED_MEMORY = Path("/dev/shm")
_PREFIX = "species-pipeline-pictures-"  # nobody else's, as those of killed processes are deleted
_in_use: set[Path] = set()  # by this process: not to be deleted for room

log = logging.getLogger(__name__)


@dataclass
class PictureCache:
    """`slots` pictures of (3, side, side) uint8 in `file`; rows beyond have none. Goes to workers as its name."""

    file: Path
    side: int
    slots: int
    _pixels: np.ndarray | None = field(default=None, repr=False)
    _checks: np.ndarray | None = field(default=None, repr=False)
    _full: bool = False

    def get(self, row: int) -> torch.Tensor | None:
        """The picture of a row, a copy; None where it is not kept, or not whole."""
        if row >= self.slots or not self._opened():
            return None
        assert self._checks is not None
        assert self._pixels is not None
        if not self._checks[row]:
            return None
        pixels = self._pixels[row].copy()
        return torch.from_numpy(pixels) if _checksum(pixels) == self._checks[row] else None

    def put(self, row: int, picture: torch.Tensor) -> None:
        """Keep a picture; where there is no room left, say so once and go on without."""
        if row >= self.slots or self._full or not self._opened():
            return
        pixels = picture.contiguous().numpy()
        try:
            # Written, not mapped: a full disk is then an error and not the end of the process.
            with self.file.open("r+b", buffering=0) as file:
                file.seek(self.slots * _CHECK.itemsize + row * pixels.nbytes)
                file.write(pixels.tobytes())
                file.seek(row * _CHECK.itemsize)
                file.write(_CHECK.type(_checksum(pixels)).tobytes())
        except OSError as error:
            self._full = True
            log.warning("warning: no more pictures are cached in %s (%s)", self.file, error.strerror or error)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pixels": None, "_checks": None}

    def _opened(self) -> bool:
        if self._pixels is None and not self._full:
            try:
                whole = np.memmap(self.file, np.uint8, mode="r", shape=(size_of(self.side, self.slots),))
            except (OSError, ValueError):  # deleted, or cut short, since it was made
                self._full = True
                return False
            self._checks = whole[: self.slots * _CHECK.itemsize].view(_CHECK)
            shape = (self.slots, 3, self.side, self.side)
            self._pixels = whole[self.slots * _CHECK.itemsize :].reshape(shape)
        return self._pixels is not None


def open_cache(
    kind: Literal["none", "memory", "disk"],
    table: PictureTable,
    how: Preprocessing,
    *,
    most_gb: float,
    folder: Path,
) -> PictureCache | None:
    """A cache for pictures of a table, read as `how` says; `most_gb` (10^9 bytes) bounds all files of its place.

    `disk` keeps it in `folder` for other runs, `memory` in shared memory until this process ends. Sets that are
    in memory already have none, and nor does a place that cannot be written to.
    """
    if kind == "none" or table.pixels is not None or not most_gb:
        return None
    # One file for all splits, folds and labels: only which files, and how they are read, count.
    rows = np.arange(len(table.rows))
    facts = (
        _VERSION,
        content_digest(table, rows),
        how.image_size,
        how.fit,
        how.interpolation,
        how.mean if how.fit == "pad" else None,
    )
    key = blake2b(repr(facts).encode(), digest_size=16).hexdigest()
    place = folder if kind == "disk" else _memory_folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
        clear_abandoned(place)
        return _in(place, key, how.image_size, len(rows), most_gb)
    except OSError as error:
        log.warning("warning: pictures are not cached in %s (%s)", place, error.strerror or error)
        return None


def size_of(side: int, slots: int) -> int:
    """Bytes of a file of that many pictures."""
    return slots * (_CHECK.itemsize + 3 * side * side)


def _in(place: Path, key: str, side: int, rows: int, most_gb: float) -> PictureCache | None:
    with FileLock(place / ".lock"):
        others = [file for file in _in_use if file.parent == place and file.stem != key and file.exists()]
        room = int(min(most_gb * 1e9, 2**62)) - sum(file.stat().st_size for file in others)
        slots = min(rows, room // size_of(side, 1))
        file = place / f"{key}.pictures"
        if slots < rows:
            log.info("data.cache_gb=%g holds %d of %d pictures", most_gb, max(slots, 0), rows)
        if slots < 1:
            return None
        if not file.exists() or file.stat().st_size != size_of(side, slots):
            _make(file, size_of(side, slots))
        os.utime(file)  # used just now
        _in_use.add(file)
        _make_room(place, most_gb)
    return PictureCache(file, side, slots)


def _make(file: Path, size: int) -> None:
    """An empty file of that size, all at once under its name; who has an older one mapped keeps it."""
    write_atomically(file, lambda fresh: os.truncate(fresh, size))


def _make_room(place: Path, most_gb: float) -> None:
    """Delete the files that were unused for longest, until the others are within the bound."""
    files = sorted(place.glob("*.pictures"), key=lambda file: file.stat().st_mtime)
    total = sum(file.stat().st_size for file in files)
    for file in files:
        if total <= most_gb * 1e9:
            return
        if file not in _in_use:
            total -= file.stat().st_size
            file.unlink(missing_ok=True)


_memory: tempfile.TemporaryDirectory[str] | None = None


def _memory_folder() -> Path:
    """A folder in shared memory (where the system has it) that ends with this process."""
    global _memory  # noqa: PLW0603 - one a process, shared by train's and val's pictures
    if _memory is None:
        above = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() and disk_usage(_SHARED_MEMORY).free > 0 else None
        _memory = held_folder(_PREFIX, above)
    return Path(_memory.name)


def _checksum(pixels: np.ndarray) -> int:
    return zlib.crc32(pixels.data) or 1  # 0 marks an empty slot
