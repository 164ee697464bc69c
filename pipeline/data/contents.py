"""What files hold, as a number each: read once by several threads, and remembered while the files stay as they are.

The memory is `contents-1.memo` in the user's cache folder: a record a file of device, inode, size, times of writing
and of any change, digest and checksum. No program can set the time of change, so a file of the same size and time
of writing whose bytes were exchanged is read again. A record that is not whole is passed over; a memory that cannot
be read or written costs time alone, and so does a record that two processes, writing at once, lost.
"""

import hashlib
import logging
import os
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from pipeline.common.atomic import write_atomically
from pipeline.common.cache_folder import cache_folder
from pipeline.data.members import Member

_FILE = "contents-1.memo"
_STATE = 5  # device, inode, size, mtime_ns, ctime_ns
_COLUMNS = _STATE + 2  # and digest, checksum
_MOST_RECORDS = 1_000_000  # 56 MB: beyond, the oldest are forgotten
_YOUNG = 3_000_000_000  # ns: a file changed so shortly ago might change once more within its clock's tick
_THREADS = 8
_SPREAD = 0x9E3779B97F4A7C15  # the golden ratio's digits: no two files' places in them meet
_SEVERAL = 256  # files: below, threads do not pay
_MANY = (20_000, 4e9)  # files, bytes: so many are told of before they are read

log = logging.getLogger(__name__)


def file_states(files: Sequence[str]) -> np.ndarray:
    """(n, 5) uint64: device, inode, size and times of writing and of change (ns); zeros for what is no file."""
    return np.array([_state(file) for file in files], np.uint64).reshape(-1, _STATE)


def content_digests(files: Sequence[str], states: np.ndarray) -> np.ndarray:
    """(n,) uint64 of what files hold, whose states (n, 5) were just asked for; 0 for one that cannot be read."""
    memory = _memory(cache_folder() / _FILE)
    found = memory.look_up(states)
    there = states.any(axis=1)
    unread = np.flatnonzero((found == 0) & there)
    if not len(unread):
        return found
    size = int(states[unread, 2].sum())
    if len(unread) > _MANY[0] or size > _MANY[1]:
        log.info("reading %d files once, to know them by what they hold (%.1f GB)", len(unread), size / 1e9)
    new = _read([files[place] for place in unread.tolist()])
    found[unread] = new[:, _STATE]
    lasting = (new[:, _STATE] > 0) & (new[:, 4].astype(np.int64) < time.time_ns() - _YOUNG)
    if lasting.any():
        memory.add(new[lasting])
    return found


def mixed(columns: np.ndarray, start: int = 0) -> np.ndarray:
    """(n,) uint64, each a hash of a row of columns (n, k) uint64: splitmix64's finaliser (Steele et al. 2014)."""
    value = np.full(len(columns), start, np.uint64)
    for column in columns.T:
        value = (value ^ column) + np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        value ^= value >> np.uint64(31)
    return value


class _Memory:
    """Records (m, 7) uint64 sorted by a hash of their states; those of the file, and those met by this process."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._read_at: tuple[int, int] | None = None
        self._own = np.empty((0, _COLUMNS), np.uint64)
        self._all, self._keys = self._own, np.empty(0, np.uint64)

    def look_up(self, states: np.ndarray) -> np.ndarray:
        """(n,) uint64 digests of what is in these states (n, 5); 0 where it is not known."""
        self._refresh()
        found = np.zeros(len(states), np.uint64)
        if len(self._all):
            place = np.searchsorted(self._keys, mixed(states)).clip(max=len(self._all) - 1)
            same = (self._all[place, :_STATE] == states).all(axis=1)
            found[same] = self._all[place[same], _STATE]
        return found

    def add(self, records: np.ndarray) -> None:
        """Remember records (k, 6), in the file too where it can be written."""
        whole = np.column_stack([records, _checksums(records)])
        self._own, self._read_at = np.concatenate([self._own, whole]), None
        with suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.file, np.concatenate([self._stored(), whole])[-_MOST_RECORDS:].tofile)

    def _refresh(self) -> None:
        now = (0, 0)
        with suppress(OSError):
            facts = self.file.stat()
            now = (facts.st_ino, facts.st_mtime_ns)
        if now == self._read_at:
            return
        everything = np.concatenate([self._stored(), self._own])
        keys = mixed(everything[:, :_STATE])
        order = np.argsort(keys, kind="stable")
        self._all, self._keys, self._read_at = everything[order], keys[order], now

    def _stored(self) -> np.ndarray:
        try:
            numbers = np.fromfile(self.file, np.uint64)
        except OSError:
            numbers = np.empty(0, np.uint64)
        stored = numbers[: len(numbers) // _COLUMNS * _COLUMNS].reshape(-1, _COLUMNS)
        return stored[stored[:, -1] == _checksums(stored[:, :-1])]


_memory = cache(_Memory)  # one a file


def _checksums(records: np.ndarray) -> np.ndarray:
    return mixed(records, start=_COLUMNS)


def _read(files: list[str]) -> np.ndarray:
    """(n, 6) uint64: the state of each file as it was once read, and the digest of its bytes."""
    if len(files) < _SEVERAL:
        return np.array([_digest(file) for file in files], np.uint64)
    with ThreadPoolExecutor(_THREADS) as pool:
        return np.array(list(pool.map(_digest, files, chunksize=64)), np.uint64)


def _digest(path: str) -> tuple[int, ...]:
    digest = hashlib.sha256()  # processors have instructions for it: three times as fast as BLAKE2b
    try:
        if isinstance(path, Member):
            state = _state(path)
            digest.update(path.read())
            return (*state, _number(digest))
        # Not to wait for ever, should it have become a pipe since it was asked about.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            while piece := os.read(handle, 1 << 20):
                digest.update(piece)
            state = _numbers(os.fstat(handle))
        finally:
            os.close(handle)
    except OSError:
        return (0,) * (_STATE + 1)
    return (*state, _number(digest))


def _number(digest: "hashlib._Hash") -> int:
    return int.from_bytes(digest.digest()[:8], "little") or 1


def _state(path: str) -> tuple[int, ...]:
    try:
        facts = os.stat(path.tar if isinstance(path, Member) else path)  # noqa: PTH116 - millions of them
    except OSError:
        return (0,) * _STATE
    if isinstance(path, Member):  # a state of its own, with its own size
        device, inode, _, *times = _numbers(facts)
        return device, (inode * _SPREAD + path.offset) % 2**64, path.length, times[0], times[1]
    return _numbers(facts) if stat.S_ISREG(facts.st_mode) else (0,) * _STATE


def _numbers(facts: os.stat_result) -> tuple[int, ...]:
    state = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    return tuple(value % 2**64 for value in state)
