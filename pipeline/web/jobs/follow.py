"""What a job is at, read off its log and off the run that its process began."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.tracking.liveness import PROCESS
from pipeline.tracking.selection import search
from pipeline.web.jobs.record import Job

# What is drawn while it trains, of each epoch.
CURVES = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")
_TAIL = 20_000  # bytes of a log


def run_of(job: Job) -> Run | None:
    """The run that a job's process began, or went on with; None where there is none yet."""
    client = MlflowClient()
    if job.run_id:
        try:
            return client.get_run(job.run_id)
        except MlflowException:  # deleted
            return None
    if not job.process:
        return None
    experiments = [one.experiment_id for one in client.search_experiments()]
    found = search(client, experiments, f"tags.`{PROCESS}` = '{job.process}'", limit=1)
    return found[0] if found else None


@dataclass(frozen=True)
class Progress:
    """Of a training: epochs done, and planned; values by metric, one an epoch; the run's figures at its end."""

    epochs: int = 0
    planned: int = 0
    curves: Mapping[str, list[tuple[int, float]]] | None = None
    figures: Mapping[str, float] | None = None


def progress_of(run: Run) -> Progress:
    """How far a training's run is."""
    client, run_id = MlflowClient(), run.info.run_id
    curves = {
        name: sorted({point.step: point.value for point in client.get_metric_history(run_id, name)}.items())
        for name in CURVES
        if name in run.data.metrics
    }
    done = max((points[-1][0] for points in curves.values()), default=0)
    planned = sum(int(run.data.params.get(f"{key}", "0")) for key in ("trainer.epochs", "regime.head_epochs"))
    return Progress(done, max(planned, done), curves, dict(run.data.metrics))


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
    known: dict[str, str] = {str(path): name for name, path in folders.items()}
    known |= {str(Path.cwd()): ".", str(Path.home()): "~"}
    for path in sorted(known, key=len, reverse=True):
        text = text.replace(path, known[path]) if len(path) > 1 else text
    return text


def told(job: Job, run: Run | None) -> dict[str, Any]:
    """A job as JSON has it."""
    return {}
