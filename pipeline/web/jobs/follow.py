"""What a job is at, read off its log and off the run that its process began."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.models.heads.registry import fits_once
from pipeline.tracking.finished import CURVES
from pipeline.tracking.places import home
from pipeline.web.jobs.queue import Queue
from pipeline.web.jobs.record import Job
from pipeline.web.jobs.run import run_of

_TAIL = 20_000  # bytes of a log


@dataclass(frozen=True)
class Progress:
    """How far a training is: epochs done, and planned; values by metric as (epoch, value); all metrics as they
    stand; minutes that an epoch takes.
    """

    epochs: int = 0
    planned: int = 0
    curves: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    pace: float | None = None


def progress_of(run: Run) -> Progress:
    """How far the run of a training is."""
    client, run_id = MlflowClient(), run.info.run_id
    points = {name: client.get_metric_history(run_id, name) for name in CURVES if name in run.data.metrics}
    curves = {name: sorted({one.step: one.value for one in them}.items()) for name, them in points.items()}
    told_at = {one.step: one.timestamp for them in points.values() for one in them}  # milliseconds
    done = max((points[-1][0] for points in curves.values()), default=0)
    asked = run.data.params
    planned = int(asked.get("regime.head_epochs", 0)) + int(asked.get("trainer.epochs", 0))
    if fits_once(asked.get("head.name", ""), asked.get("regime.trains", "all")):  # at once
        planned = 1
    between = (max(told_at.values()) - min(told_at.values())) / 60_000 if len(told_at) > 1 else 0.0
    pace = between / (len(told_at) - 1) if between else None
    return Progress(done, max(planned, done), curves, dict(run.data.metrics), pace)


def page_of(run: Run, name: str) -> Path | None:
    """A page among a run's files, if it is there."""
    file = home(run) / name
    return file if file.is_file() else None


def tail(log: Path, folders: Mapping[str, Path]) -> str:
    """The end of a log, the server's folders by their names on screen."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return shown(text, folders)


def shown(text: str, folders: Mapping[str, Path]) -> str:
    """A text without the server's paths: its named folders by their names, the current one as a dot."""
    known = {str(path): name for name, path in folders.items()} | {str(Path.cwd()): ".", str(Path.home()): "~"}
    for path in sorted(known, key=len, reverse=True):
        text = text.replace(path, known[path]) if len(path) > 1 else text
    return text


def told(queue: Queue, job: Job, folders: Mapping[str, Path]) -> dict[str, Any]:
    """A job as programs have it."""
    return {
        "id": job.id, "kind": job.kind, "state": job.state, "about": job.about, "asked_by": job.asked_by,
        "asked_at": job.asked_at, "began_at": job.began_at, "ended_at": job.ended_at, "run_id": job.run_id or None,
        "settings": job.given, "ahead": len(queue.ahead_of(job)),
        "asked_to_stop": job.asked_to_stop, "can_go_on": job.can_go_on, "why": job.why or None,
        "said": shown(job.said, folders) or None,
    }  # fmt: skip


def followed(queue: Queue, job: Job, folders: Mapping[str, Path]) -> dict[str, Any]:
    """The same with how far it is, and what it says."""
    run = run_of(queue, job)
    progress = Progress() if run is None or job.kind != "training" else progress_of(run)
    left = progress.planned - progress.epochs
    minutes = progress.pace * left if progress.pace and left and job.state == "running" else None
    return told(queue, job, folders) | {
        "minutes_left": minutes,
        "run_id": run.info.run_id if run else None, "epochs": progress.epochs, "planned_epochs": progress.planned,
        "curves": {name: [list(point) for point in points] for name, points in progress.curves.items()},
        "figures": dict(progress.figures), "log": tail(queue.log_file(job), folders),
    }  # fmt: skip
