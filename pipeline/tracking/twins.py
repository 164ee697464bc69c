"""Runs that are the same training: of the same config and pictures. What one of them did need not be done again."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b

import mlflow
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.cache_folder import cache_folder
from pipeline.tracking.liveness import is_under_way
from pipeline.tracking.places import home, local_folder
from pipeline.tracking.selection import FINISHED, found_tag, job_key, search


def twins(client: MlflowClient, experiment_id: str, identity: Mapping[str, str]) -> list[Run]:
    """The training runs of an experiment with these tags, newest first; without those whose answers are gone."""
    where = " and ".join(f"tags.{name} = '{value}'" for name, value in identity.items())
    found = search(client, [experiment_id], f"tags.stage = 'train' and {where}")
    return [run for run in found if run.info.status != FINISHED or _whole(run)]


def finished(runs: list[Run]) -> Run | None:
    """The newest that came to its end."""
    return next((run for run in runs if run.info.status == FINISHED), None)


def under_way(runs: list[Run]) -> Run | None:
    """One that a living process is at."""
    return next((run for run in runs if is_under_way(run)), None)


def unfinished(runs: list[Run]) -> Run | None:
    """The newest of all, if it broke off and nobody is at it."""
    newest = runs[0] if runs else None
    return None if newest is None or newest.info.status == FINISHED or is_under_way(newest) else newest


def note_found(client: MlflowClient, run: Run, parent: str, overrides: str) -> None:
    """Count a run among a sweep's jobs, of which it is the one with these overrides."""
    own = job_key(run.data.tags.get("overrides", ""))
    if run.data.tags.get("mlflow.parentRunId") != parent or own != job_key(overrides):
        client.set_tag(run.info.run_id, found_tag(parent), overrides)


@contextmanager
def claimed(experiment_id: str, *digests: str) -> Iterator[None]:
    """While this lasts no other process of this machine looks for, or begins, what has the same digests."""
    text = json.dumps([mlflow.get_tracking_uri(), experiment_id, *digests])
    folder = cache_folder() / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{blake2b(text.encode(), digest_size=12).hexdigest()}.lock"):
        yield


def _whole(run: Run) -> bool:
    """Whether what a finished run answered is there; of a store elsewhere that is taken for granted."""
    return local_folder(run.info.artifact_uri or "") is None or (home(run) / "predictions" / "val.parquet").is_file()
