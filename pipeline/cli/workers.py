"""A launcher's process, which runs jobs for the command that was typed, and is of no use when that is gone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.common.processes import end_with

_EVERY = 5.0  # seconds between looks at whether the command still lives


class _State:
    """Of this process: whether the command is watched, and whether a job is at work."""

    watched = False
    working = False


@contextmanager
def at_work() -> Iterator[None]:
    """While this lasts a job is at work, and is let finish; then the process ends, should its command be dead.

    joblib's processes wait for more work for ever where the command was killed, with all that they hold in memory.
    """
    if not _State.watched:
        _State.watched = True
        end_with(os.getppid(), _EVERY, lambda: _State.working)
    _State.working = True
    try:
        yield
    finally:
        _State.working = False
