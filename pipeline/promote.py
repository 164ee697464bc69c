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
    from pipeline.serving.from_run import Assembled

log = logging.getLogger("pipeline.promote")


@door("promote")
def main(config: schema.Promote) -> None:
    """Choose by val, assemble the served model, register it, point the alias at it."""
    from mlflow import MlflowClient

    from pipeline.serving.from_run import assemble
    from pipeline.tracking.names import safe_name
    from pipeline.tracking.registry import log_served_model, register
    from pipeline.tracking.store import Store

    Store().open()
    client = MlflowClient()
    run = choose(client, config)
    name = safe_name(client.get_experiment(run.info.experiment_id).name)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "served"  # the name under which the model finds it
        made = assemble(client, run, folder)
        metrics = {config.metric: run.data.metrics[config.metric], **made.figures}
        uri = log_served_model(folder, run, metrics)
    registered = register(uri, name, config.alias, made.classes)
    log.info(
        "%s is now models:/%s@%s (version %s): %s%s, %s %.4f",
        run.info.run_name, name, config.alias, registered.version, run.data.tags.get("model", "?"),
        f" ({made.networks} networks)" if made.networks > 1 else "",
        config.metric, run.data.metrics[config.metric],
    )  # fmt: skip
    describe_calibration(made)
    address = f"models:/{name}@{config.alias}"
    log.info("next: mlflow models serve -m %s --env-manager local -p 5001", quote(address))
    log.info("or:   python -m pipeline.predict images=PICTURE_OR_FOLDER %s", quote(f"model={address}"))


def describe_calibration(made: Assembled) -> None:
    """What was done for the probabilities, and what test says of it."""
    figures, calibration = made.figures, made.calibration
    error = ""
    if figures:
        error = f": calibration error on test {figures['test/ece']:.3f} -> {figures['test/ece_calibrated']:.3f}"
    log.info("probabilities are calibrated on val (temperature %.2f)%s", calibration.temperature, error)
    if "test/coverage_90" in figures:
        log.info(
            "sets of labels promised to hold the right one in 90 %% do so in %.1f %% of test, with %.1f labels each",
            100 * figures["test/coverage_90"], figures["test/set_size_90"],
        )  # fmt: skip


def choose(client: MlflowClient, config: schema.Promote) -> Run:
    """The run asked for, else the best by the val metric of the experiment or sweep."""
    from pipeline.tracking.selection import by_metric, ensembles, find_experiment, find_run, trained_runs

    if config.run:
        run = find_run(client, config.run)
        if config.metric not in run.data.metrics:
            raise BadInput(f"run={config.run} has no {config.metric}: it did not finish; choose another run")
        return run
    experiment = find_experiment(client, config.tracking.experiment, config.sweep)
    # Of equals the first is taken: a single network before an ensemble, which costs more to ask.
    runs = trained_runs(client, experiment, config.sweep) + ensembles(client, experiment, config.sweep)
    scored = [run for run in by_metric(runs, config.metric) if config.metric in run.data.metrics]
    if not scored:
        where = f"sweep {config.sweep} of {experiment.name}" if config.sweep else f"experiment {experiment.name}"
        raise BadInput(f"{where} has no finished run with {config.metric}: train first, or choose another metric")
    return scored[0]


if __name__ == "__main__":
    main()
