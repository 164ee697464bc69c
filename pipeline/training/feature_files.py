"""Features in files: each picture's are kept once, whatever table, split or fold it is met in next.

A folder for each way of making them (weights, preprocessing, arithmetic); in it `NAME.features.npy` for the pictures
that were made together: two arrays, one after the other, (n,) uint64, which says whose they are, and the features,
(n, features) float16, or float32 of the lower part of a network. Written whole or not at all, within a bound, safe to
delete. Pictures that could not be read are not in them: why they could not is remembered elsewhere, and a fault of the
moment may be over.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

from pipeline.common.atomic import open_held, write_atomically
from pipeline.common.cache_folder import BoundedFolder
from pipeline.common.locks import one_at_a_time

# Part of every key: raise it when features would come out otherwise though nothing else in the key changed.
_VERSION = 5
_FEATURES = ".features.npy"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureRows:
    """Features of n pictures wherever they lie: picture i's are row `place[i]` of `parts[part[i]]`.

    A part is (m, features), memory-mapped where it comes from a file.
    """

    parts: tuple[np.ndarray, ...]
    part: np.ndarray
    place: np.ndarray

    def __len__(self) -> int:
        return len(self.part)

    def choose(self, chosen: np.ndarray) -> "FeatureRows":
        """Those of some of the pictures: their numbers (k,) or a mask (n,)."""
        return FeatureRows(self.parts, self.part[chosen], self.place[chosen])

    def read(self) -> np.ndarray:
        """(n, features), out of the files."""
        made: np.ndarray | None = None
        for number in np.unique(self.part):
            here = self.part == number
            found = self.parts[number][self.place[here]]
            made = np.empty((len(self), found.shape[1]), found.dtype) if made is None else made
            made[here] = found
        return np.empty((0, 0), np.float16) if made is None else made

    def readable(self) -> np.ndarray:
        """(n,) bool: False for a picture that could not be read, whose features are NaN."""
        known = np.zeros(len(self), bool)
        for number, values in enumerate(self.parts):
            here = self.part == number
            known[here] = ~np.isnan(values[self.place[here], 0])
        return known


@dataclass(frozen=True)
class SideBySide:
    """Features of the same n pictures by several backbones, which follow one another in a row."""

    columns: tuple[FeatureRows, ...]

    def __len__(self) -> int:
        return len(self.columns[0])

    def choose(self, chosen: np.ndarray) -> "SideBySide":
        """Those of some of the pictures: their numbers (k,) or a mask (n,)."""
        return SideBySide(tuple(column.choose(chosen) for column in self.columns))

    def read(self) -> np.ndarray:
        """(n, features of all) float16, out of the files."""
        return np.concatenate([column.read() for column in self.columns], axis=1)


@dataclass(frozen=True)
class FeatureFiles(BoundedFolder):
    """A bounded folder of features; with `most_gb=0` none are kept.

    `pictures_of` names the data set; `waited` gets the seconds spent waiting for another process.
    """

    most_gb: float = 20.0
    ending: str = _FEATURES
    pictures_of: str = ""
    waited: Callable[[float], object] = lambda _: None

    def get_or_make(
        self, how: str, pictures: np.ndarray, make: Callable[[np.ndarray], np.ndarray], at_once: int = 1_000_000
    ) -> FeatureRows:
        """The features of pictures (n,) uint64, made in the way that `how` names.

        `make` gets the numbers (k,), ascending, of those that are not kept, each picture once, and gives (k, features);
        `at_once` of them at most, which make a file.
        Where some are missing, processes that need the same way and data set wait for the one that makes them. Where
        features cannot be kept (a full disk, say), a warning says so and they are given from memory.
        """
        if not self.most_gb:
            return _completed(_none_of(pictures), pictures, make, at_once)
        try:
            folder = self.ready(how)
            found = self._find(folder, pictures)
            if (found.part >= 0).all():
                return found
            lock = folder / f".{blake2b(self.pictures_of.encode(), digest_size=8).hexdigest()}.lock"
            with one_at_a_time(lock, f"features of {self.pictures_of or 'pictures'}", self.waited):
                return _completed(self._find(folder, pictures), pictures, make, at_once, partial(self._keep, folder))
        except OSError as error:
            self._warn(error)
            return _completed(_none_of(pictures), pictures, make, at_once)

    def missing(self, how: str, pictures: np.ndarray) -> int:
        """How many of the pictures (n,) uint64 `get_or_make` would have made."""
        if not self.most_gb:
            return len(np.unique(pictures))
        found = self._find(self.folder / how, pictures)
        return len(np.unique(pictures[found.part < 0]))

    def _find(self, folder: Path, pictures: np.ndarray) -> FeatureRows:
        found = _none_of(pictures)
        parts: list[np.ndarray] = []
        for file in sorted(folder.glob(f"*{_FEATURES}")):
            opened = self._open(file)
            if opened is None:
                continue
            values, whose = opened
            order = np.argsort(whose)
            place = order[np.searchsorted(whose, pictures, sorter=order).clip(max=len(whose) - 1)]
            here = (whose[place] == pictures) & (found.part < 0)
            if here.any():
                os.utime(file)  # used just now
                found.part[here], found.place[here] = len(parts), place[here]
                parts.append(values)
        return FeatureRows(tuple(parts), found.part, found.place)

    def _open(self, file: Path) -> tuple[np.ndarray, np.ndarray] | None:
        try:
            with os.fdopen(open_held(file), "rb") as stream:
                whose = np.load(stream, allow_pickle=False)
                np.lib.format.read_magic(stream)
                shape, _, kind = np.lib.format.read_array_header_1_0(stream)
                return np.memmap(stream, kind, "r", stream.tell(), shape), whose  # which holds the file on
        except FileNotFoundError:  # deleted for room just now
            return None
        except (ValueError, EOFError) as error:
            log.info("features in %s are damaged (%s): made anew", file, error)
            file.unlink(missing_ok=True)
            return None

    def _keep(self, folder: Path, pictures: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Gives the values, out of the file now, where that has all of them."""
        read = ~np.isnan(values[:, 0])
        if not read.any():
            return values
        arrays = pictures[read], values[read]
        file = folder / f"{blake2b(arrays[0].tobytes(), digest_size=8).hexdigest()}{_FEATURES}"

        def save(fresh: Path) -> None:
            with fresh.open("wb") as stream:
                for array in arrays:
                    np.save(stream, array, allow_pickle=False)
            self.make_room(fresh.stat().st_size, besides=file)

        try:
            write_atomically(file, save)
        except OSError as error:
            self._warn(error)
            return values
        opened = self._open(file) if read.all() else None
        return opened[0] if opened else values

    def _warn(self, error: OSError) -> None:
        why = error.strerror or f"{error}: is the disk full?"  # of numpy, which says no more
        log.warning("warning: features are not kept in %s (%s)", self.folder, why)


def _completed(
    found: FeatureRows,
    pictures: np.ndarray,
    make: Callable[[np.ndarray], np.ndarray],
    at_once: int,
    keep: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda _, made: made,
) -> FeatureRows:
    missing = np.flatnonzero(found.part < 0)
    if not len(missing):
        return found
    _, first, which = np.unique(pictures[missing], return_index=True, return_inverse=True)
    asked = np.sort(first)
    parts = []
    for start in range(0, len(asked), at_once):
        some = missing[asked[start : start + at_once]]
        parts.append(keep(pictures[some], make(some)))
    part, found.place[missing] = np.divmod(np.searchsorted(asked, first[which]), at_once)
    found.part[missing] = len(found.parts) + part
    return FeatureRows((*found.parts, *parts), found.part, found.place)


def _none_of(pictures: np.ndarray) -> FeatureRows:
    return FeatureRows((), np.full(len(pictures), -1), np.zeros(len(pictures), np.int64))


def weights_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Sixteen hex digits of the tensors' bytes, in the order of their names."""
    digest = blake2b(digest_size=8)
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def feature_key(*parts: object) -> str:
    """A folder's name out of all that features depend on but the pictures: weights, preprocessing, arithmetic, code."""
    text = "\n".join(str(part) for part in (_VERSION, torch.__version__, *parts))
    return blake2b(text.encode(), digest_size=16).hexdigest()
