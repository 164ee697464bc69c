"""Make the best run the one that is served:   python -m pipeline.promote sweep=latest"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from pipeline.door import door
from pipeline.errors import BadInput

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from pipeline import schema
log = logging.getLogger("pipeline.promote")


@door("promote")
def main(config: schema.Promote) -> None:
    """Choose by val, assemble the served model, register it, point the alias at it."""
    from mlflow import MlflowClient

    from pipeline.serving.bundle import write_bundle
    from pipeline.tracking.names import safe_name
    from pipeline.tracking.registry import log_served_model, register, run_folder
    from pipeline.tracking.store import Store

    Store().open()
    client = MlflowClient()
    run = choose(client, config)
    name = safe_name(client.get_experiment(run.info.experiment_id).name)
    checkpoints = run_folder(run.info.artifact_uri, "checkpoints")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "served"  # the name under which the model finds it
        facts = write_bundle(folder, [checkpoints])
        uri = log_served_model(folder, run, {config.metric: run.data.metrics[config.metric]})
    made = register(uri, name, config.alias, facts.classes)
    log.info(
        "%s is now models:/%s@%s (version %s): %s, %s %.4f",
        run.info.run_name, name, config.alias, made.version, run.data.tags.get("model", "?"),
        config.metric, run.data.metrics[config.metric],
    )  # fmt: skip
    address = f"models:/{name}@{config.alias}"
    log.info("next: mlflow models serve -m %s --env-manager local -p 5001", quote(address))
    log.info("or:   python -m pipeline.predict images=PICTURE_OR_FOLDER %s", quote(f"model={address}"))


def choose(client: MlflowClient, config: schema.Promote) -> Run:
    """The run asked for, else the best by the val metric of the experiment or sweep."""
    from pipeline.tracking.selection import by_metric, find_experiment, find_run, trained_runs

    if config.run:
        run = find_run(client, config.run)
        if config.metric not in run.data.metrics:
            raise BadInput(f"run={config.run} has no {config.metric}: it did not finish; choose another run")
        return run
    experiment = find_experiment(client, config.tracking.experiment)
    runs = trained_runs(client, experiment, config.sweep)
    scored = [run for run in by_metric(runs, config.metric) if config.metric in run.data.metrics]
    if not scored:
        where = (
            f"sweep {config.sweep} of {experiment.name}" if config.sweep else f"experiment {experiment.name}"
        )
        raise BadInput(
            f"{where} has no finished run with {config.metric}: train first, or choose another metric"
        )
    return scored[0]


if __name__ == "__main__":
    main()
