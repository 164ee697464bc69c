"""What a run has to tell a store that does not answer now: records in a file, each on disk before training goes on."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

Record = dict[str, Any]
ENDING = ".jsonl"


class Journal:
    """A run's records, oldest first, one JSON object a line, and how far the store has them.

    The first says which run of which store they are of. One process at a time holds it; a record that was cut short as
    its writer was killed is none.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, FileLock(file.with_suffix(".lock"), thread_local=False)
        self._place = file.with_suffix(".sent")
        self._whole = False  # whether its last record is, which one that was killed may have cut short

    @property
    def files(self) -> Path:
        """The folder of the run's files, where they wait as well."""
        return self._file.with_suffix("")

    def hold(self, *, patience: float = 0.0) -> bool:
        """Be the one process that writes and sends it; False where another is that still after so many seconds."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=patience)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Let another process have it."""
        self._lock.release()

    @property
    def held(self) -> bool:
        """Whether this process holds it."""
        return self._lock.is_locked

    def append(self, *records: Record) -> int:
        """Write records, whole and on disk when this returns; gives the place behind them. Raises OSError where that
        cannot be.
        """
        with self._file.open("ab") as file:
            if not self._whole:
                file.truncate(self._file.read_bytes().rfind(b"\n") + 1)
                self._whole = True
            file.write(b"".join(json.dumps(record).encode() + b"\n" for record in records))
            file.flush()
            os.fsync(file.fileno())
            return file.tell()

    def waiting(self) -> Iterator[tuple[Record, int]]:
        """The records that the store has not got, each with the place behind it; also what is appended meanwhile.

        Metrics that follow one another are one, as each record may cost a server's long answer.
        """
        held: tuple[Record, int] | None = None
        for record, place in self._lines():
            if held and record["do"] == held[0]["do"] == "metrics" and record["about"] == held[0]["about"]:
                held[0]["points"].extend(record["points"])
                held = held[0], place
                continue
            if held:
                yield held
            held = record, place
        if held:
            yield held

    def _lines(self) -> Iterator[tuple[Record, int]]:
        with suppress(FileNotFoundError), self._file.open("rb") as file:
            file.seek(self.sent)
            while (line := file.readline()).endswith(b"\n"):
                yield json.loads(line), file.tell()

    def note_sent(self, place: int) -> None:
        """The store has all up to there. Where that cannot be noted it gets some twice, which changes nothing."""
        with suppress(OSError):
            self._place.write_text(str(place), encoding="ascii")

    @property
    def all_sent(self) -> bool:
        """Whether the store has every record."""
        return next(self._lines(), None) is None

    def first(self) -> Record:
        """The record that says whose the others are; empty where there is none."""
        with suppress(FileNotFoundError), self._file.open("rb") as file:
            line = file.readline()
            return dict(json.loads(line)) if line.endswith(b"\n") else {}
        return {}

    def last(self) -> Record:
        """The newest record that is whole."""
        lines = [line for line in self._file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        return dict(json.loads(lines[-1]))

    def remove(self) -> None:
        """All of it is with the store."""
        for file in (self._file, self._place):
            file.unlink(missing_ok=True)
        self.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)

    @property
    def sent(self) -> int:
        """Up to which place the store has them."""
        try:
            return int(self._place.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return 0


def journals(folder: Path) -> list[Journal]:
    """Those that lie in a folder, the oldest first."""
    return [Journal(file) for file in sorted(folder.glob(f"*{ENDING}"), key=lambda file: file.stat().st_mtime)]
