"""A run's kept weights as logged models of MLflow, which ranks them by their figures. The files stay the run's own."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric, Run
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE, MLFLOW_SOURCE_NAME, MLFLOW_USER

from pipeline.common.names import safe_name

CHECKPOINT = "checkpoint"  # their type; the served model, which has files of its own, is a classifier
_BEST = "best"  # as `models.saved` calls the file, which needs PyTorch
_OF_EPOCHS = ("val/loss", "val/accuracy", "val/top5_accuracy")
_METRICS_AT_ONCE = 1000  # MLflow takes no more


def list_checkpoints(
    client: MlflowClient, run: Run, kept: Mapping[int, str], about: Mapping[str, str], *, again: bool
) -> dict[int, str]:
    """A logged model for each epoch of which a run kept weights (files in checkpoints/): their ids.

    `about` names the run's input by `dataset_name` and `dataset_digest`. With several, what val said after each epoch
    is logged of them. `again`: the run may have some already.
    """
    there, found = _of_before(client, run) if again else {}, {}
    noted = {one.model_id for one in run.outputs.model_outputs} if run.outputs else set()
    for epoch, file in kept.items():
        name = _name(run, epoch, file)
        model = there.pop(name, None) or _create(client, run, name, epoch, file)
        if model.model_id not in noted:
            client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=epoch)])
        if model.status == LoggedModelStatus.PENDING:
            client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        found[epoch] = model.model_id
    for model in there.values():  # of an epoch that is no longer the best
        client.delete_logged_model(model.model_id)
    if len(kept) > 1:  # else there is nothing of this run to rank by them, and it would take its time
        _log_epochs(client, run, found, about)
    return found


def checkpoints_of(client: MlflowClient, run: Run) -> dict[int, LoggedModel]:
    """The logged models that a run has already, by epoch."""
    return {int(model.params["epoch"]): model for model in _of_before(client, run).values() if model.params}


def _log_epochs(client: MlflowClient, run: Run, models: Mapping[int, str], about: Mapping[str, str]) -> None:
    """What val said after these epochs, which is in the run's history, is said of the models too.

    To the last field the same points: the history takes them for those that it has.
    """
    run_id = run.info.run_id
    points = [
        Metric(point.key, point.value, point.timestamp, point.step, model_id=models[point.step], **about)
        for name in _OF_EPOCHS
        for point in client.get_metric_history(run_id, name)
        if point.step in models
    ]
    log_points(client, run_id, points)


def log_points(client: MlflowClient, run_id: str, points: Sequence[Metric]) -> None:
    """Log points of metrics, however many."""
    for start in range(0, len(points), _METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=points[start : start + _METRICS_AT_ONCE])


def _of_before(client: MlflowClient, run: Run) -> dict[str, LoggedModel]:
    found = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}' AND model_type = '{CHECKPOINT}'"
    )
    return {model.name: model for model in found}


def _name(run: Run, epoch: int, file: str) -> str:
    network = safe_name(run.data.tags.get("model", "network")).replace(".", "-")  # a dot MLflow refuses
    # MLflow's page cuts names short at about eighteen letters: what sets them apart comes first.
    return f"epoch {epoch}{' (best)' if PurePath(file).stem == _BEST else ''} of {network}"


def _create(client: MlflowClient, run: Run, name: str, epoch: int, file: str) -> LoggedModel:
    run_id = run.info.run_id
    address = f"runs:/{run_id}/checkpoints/{file}"
    lines = [
        f"The weights are the run's file `{address}`: there are none here.",
        f"Score them: `python -m pipeline.evaluate run={run_id} checkpoint={PurePath(file).stem}`.",
    ]
    if PurePath(file).stem == _BEST:
        lines.append(f"Serve them: `python -m pipeline.promote run={run_id}`, which registers them with all they need.")
    came_from = {key: run.data.tags[key] for key in (MLFLOW_USER, MLFLOW_SOURCE_NAME) if key in run.data.tags}
    return client.create_logged_model(
        run.info.experiment_id,
        name,
        source_run_id=run_id,
        model_type=CHECKPOINT,
        params={"epoch": str(epoch)},
        tags={"weights": address, MLFLOW_RUN_NOTE: "\n\n".join(lines), **came_from},
    )
