"""Numbers, times and jobs as a visitor reads them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from starlette.requests import Request

from pipeline.common.wording import duration, percent
from pipeline.web.jobs.form import FIELDS
from pipeline.web.jobs.queue import Queue
from pipeline.web.jobs.record import Job
from pipeline.web.rendering import in_figures_of, language, words
from pipeline.web.words import known

# The columns of a training's epochs.
_BY_EPOCH = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")


def helpers(request: Request, queue: Queue) -> dict[str, Any]:
    """What the templates of jobs call."""
    t = words(request)

    def local(figure: str) -> str:
        return in_figures_of(language(request), figure)

    def answer(key: str, value: object) -> str:
        """A choice in words, a number as a language points it; else as it is called."""
        if key in FIELDS and FIELDS[key].kind == "number" and "," not in str(value):
            return local(str(value))
        name = f"{key}.{value}"
        return t("train.answer." + name) if f"train.answer.{name}" in known() else str(value)

    def subject(job: Job) -> str:
        """What a job is of; of one that is about another job, what that is of."""
        other = queue.job(job.about)
        return answer("data", other.about if other else job.about)

    return {
        "answer": answer, "subject": subject, "fields": FIELDS, "known": known(), "moment": moment,
        "local": local, "minutes": lambda value: local(duration(value)), "by_epoch": by_epoch,
    }  # fmt: skip


def moment(seconds: float, *, whole: bool = False) -> str:
    """A time of this machine's clock; `whole` as machines read it."""
    when = datetime.fromtimestamp(seconds).astimezone()
    if whole:
        return when.isoformat(timespec="seconds")
    return f"{when:%H:%M}" if when.date() == datetime.now().astimezone().date() else f"{when:%Y-%m-%d %H:%M}"


def by_epoch(curves: Mapping[str, Sequence[Sequence[float]]]) -> Iterator[tuple[int, list[str]]]:
    """A row an epoch: loss of training and held-out pictures, accuracy of both."""
    values = {name: {int(step): value for step, value in points} for name, points in curves.items()}
    for epoch in sorted({step for points in values.values() for step in points}):
        row = [values.get(name, {}).get(epoch) for name in _BY_EPOCH]
        loss = ["" if one is None else f"{one:.4f}" for one in row[:2]]
        yield epoch, loss + [percent(one, 2) for one in row[2:]]
