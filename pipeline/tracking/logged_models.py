"""A run's kept weights as logged models of MLflow, which ranks them by their figures. The files stay the run's own."""

import logging
from collections.abc import Mapping
from pathlib import PurePath

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE, MLFLOW_SOURCE_NAME, MLFLOW_USER

from pipeline.common.names import safe_name
from pipeline.models.saved import BEST_WEIGHTS
from pipeline.tracking.runs import About, TrackedRun, brief

CHECKPOINT = "checkpoint"  # their type; the served model, which has files of its own, is a classifier
_OF_EPOCHS = ("val/loss", "val/accuracy", "val/top5_accuracy")

log = logging.getLogger(__name__)


def log_checkpoints(
    run: TrackedRun, kept: Mapping[int, str], pictures: str, *, again: bool = False
) -> dict[int, About]:
    """A logged model for each epoch of which the run kept weights (files in checkpoints/); what its figures are about.

    `pictures` is the name of the run's input. With several, what val said after each epoch is logged of them. `again`:
    the run was gone on with, and may have some already. A store that takes none is told of, and passes.
    """
    client, abouts = MlflowClient(), {}
    try:
        there = _of_before(client, run) if again else {}
        for epoch, file in kept.items():
            name = _name(run, epoch, file)
            model = there.pop(name, None) or _create(client, run, name, epoch, file)
            if model.status == LoggedModelStatus.PENDING:
                client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
                client.log_outputs(run.id, [LoggedModelOutput(model.model_id, step=epoch)])
            abouts[epoch] = About(model.model_id, pictures, run.tags["data_digest"])
        for model in there.values():  # of an epoch that is no longer the best
            client.delete_logged_model(model.model_id)
        if len(kept) > 1:  # else there is nothing of this run to rank by them, and it would take its time
            _log_epochs(client, run, abouts)
    except Exception as error:
        log.warning("warning: MLflow did not list the run's weights among its models (%s)", brief(error))
    return abouts


def _log_epochs(client: MlflowClient, run: TrackedRun, abouts: Mapping[int, About]) -> None:
    """What val said after these epochs, which is in the run's history, is said of the models too.

    To the last field the same points: the history takes them for those that it has.
    """
    points = [point for name in _OF_EPOCHS for point in client.get_metric_history(run.id, name)]
    run.log_points(
        Metric(point.key, point.value, point.timestamp, point.step, **vars(abouts[point.step]))
        for point in points
        if point.step in abouts
    )


def _of_before(client: MlflowClient, run: TrackedRun) -> dict[str, LoggedModel]:
    found = client.search_logged_models(
        [run.experiment_id], f"source_run_id = '{run.id}' AND model_type = '{CHECKPOINT}'"
    )
    return {model.name: model for model in found}


def _name(run: TrackedRun, epoch: int, file: str) -> str:
    network = safe_name(run.tags.get("model", "network")).replace(".", "-")  # a dot MLflow refuses
    # MLflow's page cuts names short at about eighteen letters: what sets them apart comes first.
    return f"epoch {epoch}{' (best)' if file == BEST_WEIGHTS else ''} of {network}"


def _create(client: MlflowClient, run: TrackedRun, name: str, epoch: int, file: str) -> LoggedModel:
    address = f"runs:/{run.id}/checkpoints/{file}"
    lines = [
        f"The weights are the run's file `{address}`: there are none here.",
        f"Score them: `python -m pipeline.evaluate run={run.id} checkpoint={PurePath(file).stem}`.",
    ]
    if file == BEST_WEIGHTS:
        lines.append(f"Serve them: `python -m pipeline.promote run={run.id}`, which registers them with all they need.")
    came_from = {key: run.tags[key] for key in (MLFLOW_USER, MLFLOW_SOURCE_NAME) if key in run.tags}
    return client.create_logged_model(
        run.experiment_id,
        name,
        source_run_id=run.id,
        model_type=CHECKPOINT,
        params={"epoch": str(epoch)},
        tags={"weights": address, MLFLOW_RUN_NOTE: "\n\n".join(lines), **came_from},
    )
