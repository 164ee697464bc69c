"""A job as a file: what was asked, by whom, and what became of it."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from time import time
from typing import Any, Literal, Self, get_args

from pipeline.common.atomic import write_atomically

Kind = Literal["training", "forecast", "exploration", "comparison", "promotion"]
State = Literal["queued", "running", "finished", "failed", "cancelled"]
Why = Literal["", "error", "killed", "lost"]  # a job failed: as its command said, by a signal, with nobody to see it
COMMANDS: dict[Kind, str] = {
    "training": "train", "forecast": "train", "exploration": "explore", "comparison": "compare",
    "promotion": "promote",
}  # fmt: skip
OVER: tuple[State, ...] = ("finished", "failed", "cancelled")


@dataclass(frozen=True)
class Job:
    """What was asked: `arguments` of the kind's command, by `asked_by`; times are seconds since 1970.

    `process` is the number of the process that is, or was, at it, and when that began; `asked_to_stop` how often it
    was; of one that failed, `said` is the last line.
    """

    id: str
    kind: Kind
    arguments: tuple[str, ...]
    given: dict[str, Any] = field(default_factory=dict)  # what they were made of, as who asked has it
    about: str = ""  # the folder, say
    asked_by: str = ""
    asked_at: float = 0.0
    state: State = "queued"
    began_at: float | None = None
    ended_at: float | None = None
    process: str = ""
    run_id: str = ""
    asked_to_stop: int = 0
    why: Why = ""
    said: str = ""

    @classmethod
    def asked(
        cls, kind: Kind, arguments: tuple[str, ...], *, given: Mapping[str, Any] | None = None, about: str = "",
        by: str = "",
    ) -> Self:  # fmt: skip
        """A new one, which waits."""
        made = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{token_hex(4)}"
        return cls(made, kind, arguments, dict(given or {}), about=about, asked_by=by, asked_at=time())

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do, unless it is asked for again."""
        return self.state in OVER

    @property
    def can_go_on(self) -> bool:
        """Whether the same again goes on with what it left."""
        return self.kind == "training" and self.state in ("failed", "cancelled")

    def waiting_again(self) -> Self:
        """The same job at the end of the queue."""
        return replace(
            self,
            state="queued",
            asked_at=time(),
            began_at=None,
            ended_at=None,
            process="",
            asked_to_stop=0,
            why="",
            said="",
        )


def is_id(text: str) -> bool:
    """Whether a text has the form of an id, and so names no other file."""
    return re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{8}", text) is not None


def write(job: Job, folder: Path) -> None:
    """Whole or not at all."""
    text = json.dumps(asdict(job), ensure_ascii=False, indent=1)
    write_atomically(folder / f"{job.id}.json", lambda file: file.write_text(text, encoding="utf-8"))


def read(file: Path) -> Job | None:
    """The job of a file; None where that is gone, or is none."""
    try:
        stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        known = {one.name: stored[one.name] for one in fields(Job) if one.name in stored}
        job = Job(**known | {"arguments": tuple(map(str, known["arguments"]))})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return job if job.kind in get_args(Kind) and job.state in get_args(State) and job.id == file.stem else None
