"""The weights that a sweep's jobs left, of which a long sweep may keep the best ones' alone."""

from contextlib import suppress
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from pipeline.tracking.runs import local_folder

KEPT = "weights"  # the tag of a run that has none any more


def drop_weights(run_id: str) -> None:
    """Delete a run's weights, of kept epochs too; what it is and what it answered stays. What is kept elsewhere and
    cannot be deleted there stays as it is.
    """
    client = MlflowClient()
    run = client.get_run(run_id)
    folder = local_folder(run.info.artifact_uri or "")
    if folder is not None:
        for file in (folder / "checkpoints").glob("*.safetensors"):
            file.unlink(missing_ok=True)
    else:
        with suppress(MlflowException, NotImplementedError):
            store: Any = get_artifact_repository(run.info.artifact_uri)
            for kept in client.list_artifacts(run_id, "checkpoints"):
                if kept.path.endswith(".safetensors"):
                    store.delete_artifacts(kept.path)
    client.set_tag(run_id, KEPT, "not kept")
