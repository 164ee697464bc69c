"""The weights that a sweep's jobs left, of which a long sweep may keep the best ones' alone."""

import logging
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from pipeline.tracking.places import local_folder
from pipeline.tracking.store import brief

log = logging.getLogger("pipeline.train")

KEPT = "weights"  # the tag of a run that has none any more


def drop_weights(run_id: str) -> None:
    """Delete a run's weights, of kept epochs too; what it is and what it answered stays. A store that deletes nothing
    keeps them, and the run is not marked.
    """
    client = MlflowClient()
    run = client.get_run(run_id)
    folder = local_folder(run.info.artifact_uri or "")
    if folder is not None:
        for file in (folder / "checkpoints").glob("*.safetensors"):
            file.unlink(missing_ok=True)
    else:
        store: Any = get_artifact_repository(run.info.artifact_uri)
        try:
            for kept in client.list_artifacts(run_id, "checkpoints"):
                if kept.path.endswith(".safetensors"):
                    store.delete_artifacts(kept.path)
        except (MlflowException, NotImplementedError) as error:  # not every store can, or lets us
            log.warning("warning: the weights of run %s stay where they are (%s)", run_id, brief(error))
            return
    client.set_tag(run_id, KEPT, "not kept")
