"""A launcher's process, which runs jobs for the command that was typed, and is of no use when that is gone."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep

_EVERY = 5.0  # seconds between looks at whether the command still lives


class _State:
    """Of this process: the command's, and whether a job is at work."""

    parent = 0
    working = False


@contextmanager
def at_work() -> Iterator[None]:
    """While this lasts a job is at work, and is let finish; then the process ends, should its command be dead.

    joblib's processes wait for more work for ever where the command was killed, with all that they hold in memory.
    """
    if not _State.parent:
        _State.parent = os.getppid()
        threading.Thread(target=_watch, daemon=True).start()
    _State.working = True
    try:
        yield
    finally:
        _State.working = False


def _watch() -> None:
    while os.getppid() == _State.parent or _State.working:
        sleep(_EVERY)
    os._exit(1)
