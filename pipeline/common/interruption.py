"""A request to end (Ctrl-C, SIGTERM, a terminal that closes): heeded where work can be kept, elsewhere at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_LAUNCHERS = ("SIGUSR1", "SIGUSR2")  # submitit's, which puts a job that is out of time into the queue again
_SAID = b"\nstopping as soon as what was learned is on disk; once more stops at once\n"


class Interrupted(SystemExit):
    """The command was asked to end. Its exit code is the shell's for the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class _Requests:
    """What was asked of this process, and whether it can wait."""

    waits = False
    asked: "Interrupted | _Deferred | None" = None


class _Deferred:
    """A launcher's own answer to a signal, which ends the process: given as soon as what was learned is on disk."""

    def __init__(self, answer: Callable[[int, FrameType | None], object]) -> None:
        self._answer, self._given = answer, False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        if _Requests.waits and _Requests.asked is None:
            _Requests.asked = self
        else:
            self.give()

    def give(self) -> None:
        """Once; who still goes on then is ended."""
        if self._given:
            raise Interrupted(self._number)
        self._given = True
        self._answer(self._number, None)


def listen() -> None:
    """Take requests to end from now on; those that `nohup` and its like have ignored stay so. In the main thread alone,
    as Python lets no other.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    _Requests.asked = None
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _receive)
    for name in _LAUNCHERS:
        number = getattr(signal, name, None)
        answer = None if number is None else signal.getsignal(number)
        if number is not None and callable(answer) and not isinstance(answer, _Deferred):
            signal.signal(number, _Deferred(answer))


def leave_to_parent(*_: object) -> None:
    """In a process that helps another: Ctrl-C reaches all of a terminal's, and the other knows when to end this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def follow_another() -> None:
    """In a process that works together with another one, which knows when all is to end; until then that needs it.

    A SIGTERM is heeded (`heed`) where this one has nothing to do.
    """
    for name in ("SIGINT", "SIGHUP"):
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_IGN)

    def note(number: int, _frame: FrameType | None) -> None:
        _Requests.asked = Interrupted(number)

    signal.signal(signal.SIGTERM, note)


@contextmanager
def between_steps() -> Iterator[None]:
    """While this lasts a first request waits for the next `heed`; a second one ends the command at once."""
    _Requests.waits = True
    try:
        yield
    finally:
        _Requests.waits = False


def requested() -> bool:
    """Whether a request waits."""
    return _Requests.asked is not None


def heed() -> None:
    """End the command if that was asked for. Raises Interrupted, or what a launcher ends its jobs with."""
    asked = _Requests.asked
    if isinstance(asked, _Deferred):
        asked.give()
    elif asked is not None:
        raise asked


def take_no_more() -> None:
    """From now on nobody can ask this process to end, as it does so by itself, for a cause of its own."""
    _Requests.asked = None
    for name in _SIGNALS if threading.current_thread() is threading.main_thread() else ():
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_IGN)


def _receive(number: int, _frame: FrameType | None) -> None:
    if (child := getattr(signal, "SIGCHLD", None)) is not None:
        # Who reads pictures may have been asked to end as well; PyTorch's handler raises for that wherever one is.
        signal.signal(child, signal.SIG_DFL)
    if not _Requests.waits or _Requests.asked is not None:
        raise Interrupted(number)
    _Requests.asked = Interrupted(number)
    os.write(2, _SAID)  # print() may be at work when a signal comes
