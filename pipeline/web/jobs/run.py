"""The run in MLflow that a job's process began."""

from __future__ import annotations

from dataclasses import replace

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.tracking.liveness import PROCESS
from pipeline.tracking.selection import search
from pipeline.web.jobs.queue import Queue
from pipeline.web.jobs.record import Job


def run_of(queue: Queue, job: Job) -> Run | None:
    """The run that a job's process began, or went on with; None where there is none yet. It is noted in the record."""
    client = MlflowClient()
    if not job.process:
        return None
    experiments = [one.experiment_id for one in client.search_experiments()]
    found = search(client, experiments, f"tags.`{PROCESS}` = '{job.process}'", limit=1)
    if not found:
        return _noted(client, job.run_id)
    run = found[0]
    if job.run_id != run.info.run_id:
        queue.change(job.id, lambda now: replace(now, run_id=run.info.run_id))
    return run


def _noted(client: MlflowClient, run_id: str) -> Run | None:
    """The run that a process began which is gone on with by another."""
    try:
        return client.get_run(run_id) if run_id else None
    except MlflowException:  # deleted since
        return None
