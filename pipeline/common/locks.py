"""One process at a time: who waits is told for whom, and for how long."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_PATIENCE = 2.0  # seconds of waiting without a word

log = logging.getLogger(__name__)


@contextmanager
def one_at_a_time(lock: Path, what: str, waited: Callable[[float], object] = lambda _: None) -> Iterator[None]:
    """Hold the file `lock` while `what` is made; whoever waits for it longer than two seconds says so once.

    `waited` gets the seconds, where there were any to speak of. The system frees the lock of a process that died.
    """
    holder, lock_file, began = lock.with_name(f"{lock.name}.holder"), FileLock(lock), time.perf_counter()
    try:
        lock_file.acquire(timeout=_PATIENCE)
    except Timeout:
        log.info("waiting for %s", _told_by(holder))
        lock_file.acquire()
    try:
        if (seconds := time.perf_counter() - began) > 0.1:
            waited(seconds)
            if seconds > _PATIENCE:
                log.info("waited %.0f s", seconds)
        with suppress(OSError):
            holder.write_text(f"process {os.getpid()}, which makes {what}", encoding="utf-8")
        yield
    finally:
        lock_file.release()


def _told_by(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8", errors="replace") or "another process"
    except OSError:
        return "another process"
