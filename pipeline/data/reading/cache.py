"""Decoded, resized pictures kept between epochs and runs, so that each is decoded once.

A file has a slot a row of the table: a checksum and the pixels. It begins empty (sparse) and fills as pictures are
read, by any number of workers and runs at once: all would write the same bytes. A picture counts only when its
checksum is right, so a write that was cut short is simply made again, and the file may be deleted at any time.
Files are read and written, never mapped: where memory or disk is full, a mapping ends the process.
"""

import logging
import os
import tempfile
import weakref
import zlib
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from shutil import disk_usage
from typing import Literal

import numpy as np
import torch

from pipeline.common.atomic import held_folder, open_held
from pipeline.common.cache_folder import BoundedFolder
from pipeline.data.digest import content_digest
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.table import PictureTable

# Part of every key: raise it when decoding changes what pictures look like, or files are laid out otherwise.
_VERSION = 3
_CHECK = np.dtype("<u4")
_ENDING = ".pictures"
_SHARED_MEMORY = Path("/dev/shm")
_PREFIX = "species-pipeline-pictures-"  # nobody else's, as those of killed processes are deleted
_told_full: set[Path] = set()

log = logging.getLogger(__name__)


@dataclass
class PictureCache:
    """`slots` pictures of (3, side, side) uint8 in `file`; rows beyond have none. `full`: why no more are kept."""

    file: Path
    side: int
    slots: int
    full: str = ""

    def get(self, row: int) -> torch.Tensor | None:
        """The picture of a row; None where it is not kept, or not whole."""
        if row >= self.slots:
            return None
        slot = np.empty(size_of(self.side, 1), np.uint8)
        try:
            with self.file.open("rb", buffering=0) as file:
                file.seek(row * slot.nbytes)
                whole = file.readinto(slot.data) == slot.nbytes
        except OSError:  # deleted, say
            return None
        check, pixels = slot[: _CHECK.itemsize].view(_CHECK)[0], slot[_CHECK.itemsize :]
        if not whole or not check or check != _checksum(pixels):
            return None
        return torch.from_numpy(pixels.reshape(3, self.side, self.side))

    def put(self, row: int, picture: torch.Tensor) -> None:
        """Keep a picture; where there is no room left, note in `full` that no more are."""
        if row >= self.slots or self.full:
            return
        pixels = picture.contiguous().numpy()
        try:
            with self.file.open("r+b", buffering=0) as file:
                file.seek(row * size_of(self.side, 1))
                file.write(_CHECK.type(_checksum(pixels)).tobytes() + pixels.tobytes())
        except OSError as error:
            self.full = error.strerror or str(error)

    def tell_full(self, why: str) -> None:
        """Say, once for each place, that no more pictures are kept there; workers leave it to the process itself."""
        if why and self.file.parent not in _told_full:
            _told_full.add(self.file.parent)
            log.warning("warning: no more pictures are cached in %s (%s)", self.file.parent, why)


def open_cache(
    kind: Literal["none", "memory", "disk"],
    table: PictureTable,
    how: Preprocessing,
    *,
    most_gb: float,
    folder: Path,
) -> PictureCache | None:
    """A cache for pictures of a table, read as `how` says; `most_gb` (10^9 bytes) bounds all files of its place.

    `disk` keeps it in `folder` for other runs, `memory` in shared memory until this process ends; of what is free
    there it takes half at most, as workers hand over their batches by the rest. Sets that are in memory already have
    none, and nor does a place that cannot be written to.
    """
    if kind == "none" or table.in_memory or not most_gb:
        return None
    # One file for all splits, folds and labels: only which files, and how they are read, count.
    n, side = len(table.rows), how.image_size
    content, mean = content_digest(table, np.arange(n)), how.mean if how.fit == "pad" else None
    facts: tuple[object, ...] = (_VERSION, content, side, how.fit, how.interpolation, mean)
    if how.crop != "none":
        facts += (how.crop, how.margin)
    place = folder if kind == "disk" else _memory_folder()
    try:
        if kind == "memory":
            most_gb = min(most_gb, _half_of_what_is_free(place) / 1e9)
        bound = BoundedFolder(place, most_gb, _ENDING)
        file = bound.ready() / f"{blake2b(repr(facts).encode(), digest_size=16).hexdigest()}{_ENDING}"
        slots = min(n, int(bound.make_room(size_of(side, n), besides=file)) // size_of(side, 1))
        if slots < n:
            log.info("data.cache: %.3g GB hold %d of %d pictures", most_gb, slots, n)
        if not slots:
            return None
        cache, handle = PictureCache(file, side, slots), open_held(file, os.O_RDWR | os.O_CREAT)
        weakref.finalize(cache, os.close, handle)
        os.ftruncate(handle, size_of(side, slots))  # a slot lies where it does for any number of them
        os.utime(file)  # used just now
    except OSError as error:
        log.warning("warning: pictures are not cached in %s (%s)", place, error.strerror or error)
        return None
    return cache


def size_of(side: int, slots: int) -> int:
    """Bytes of a file of that many pictures."""
    return slots * (_CHECK.itemsize + 3 * side * side)


_memory: tempfile.TemporaryDirectory[str] | None = None


def _memory_folder() -> Path:
    """A folder in shared memory (where the system has it) that ends with this process."""
    global _memory  # noqa: PLW0603 - one a process, shared by train's and val's pictures
    if _memory is None:
        above = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() and disk_usage(_SHARED_MEMORY).free > 0 else None
        _memory = held_folder(_PREFIX, above)
    return Path(_memory.name)


def _half_of_what_is_free(place: Path) -> float:
    """Bytes; what our own files take up there counts as free."""
    own = sum(file.stat().st_blocks * 512 for file in place.iterdir()) if hasattr(os.stat_result, "st_blocks") else 0
    return (disk_usage(place).free + own) / 2


def _checksum(pixels: np.ndarray) -> int:
    return zlib.crc32(pixels.data) or 1  # 0 marks an empty slot
