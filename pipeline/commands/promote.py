"""Make the best run the one that is served:   python -m pipeline.promote sweep=latest"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from shlex import quote

from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.errors import BadInput
from pipeline.common.names import safe_name
from pipeline.config import schema
from pipeline.ensembles.gain import LEVEL, measured, paired_gain
from pipeline.evaluation.calibration import changes_nothing
from pipeline.serving.from_run import Assembled, assemble
from pipeline.tracking.finished import stored_predictions
from pipeline.tracking.registry import publish
from pipeline.tracking.selection import by_metric, ensembles, find_experiment, find_run, trained_runs
from pipeline.tracking.store import Store

log = logging.getLogger("pipeline.promote")
# What decides which pictures val has, beside the data set itself.
_VAL_PICTURES = ("data.split.seed", "data.split.fold", "data.split.folds", "data.split.val", "data.split.file")


def run(config: schema.Promote) -> None:
    """Choose by val, assemble the served model, register it, point the alias at it."""
    Store().open()
    client = MlflowClient()
    run = choose(client, config)
    name = safe_name(client.get_experiment(run.info.experiment_id).name)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "served"  # the name under which the model finds it
        made = assemble(client, run, folder)
        metrics = {config.metric: run.data.metrics[config.metric], **made.figures}
        registered = publish(folder, run, metrics, name=name, alias=config.alias, classes=made.classes)
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
    if changes_nothing(calibration.temperature):
        log.info(
            "probabilities are right as often as they say on val, and stay as they are (temperature 1.00)%s", error
        )
    else:
        log.info("probabilities are calibrated on val (temperature %.2f)%s", calibration.temperature, error)
    if "test/coverage_90" in figures:
        log.info(
            "sets of labels promised to hold the right one in 90 %% do so in %.1f %% of test, with %.1f labels each",
            100 * figures["test/coverage_90"], figures["test/set_size_90"],
        )  # fmt: skip


def choose(client: MlflowClient, config: schema.Promote) -> Run:
    """The run asked for, else the best by the val metric of the experiment or sweep."""
    if config.run and config.sweep:
        raise BadInput("run and sweep both say which run: give one of them")
    if config.run:
        run = find_run(client, config.run)
        if config.metric not in run.data.metrics:
            raise BadInput(f"run={config.run} has no {config.metric}: it did not finish; choose another run")
        return run
    experiment = find_experiment(client, config.tracking.experiment, config.sweep)
    leaders: list[Run] = []
    splits = set()
    for find in (trained_runs, ensembles):
        runs = [run for run in find(client, experiment, config.sweep) if config.metric in run.data.metrics]
        leaders += by_metric(runs, config.metric)[:1]
        splits |= {val_pictures(run) for run in runs if run.data.tags["stage"] == "train"}
    # Of equals the first is taken: a single network before an ensemble, which costs more to ask.
    leaders = by_metric(leaders, config.metric)
    if not leaders:
        where = f"sweep {config.sweep} of {experiment.name}" if config.sweep else f"experiment {experiment.name}"
        raise BadInput(f"{where} has no finished run with {config.metric}: train first, or choose another metric")
    if len(splits) > 1:
        log.warning(
            "warning: these runs are of %d data sets or splits, so their %s is of different pictures, and the best may "
            "only have had the easiest; python -m pipeline.compare tells them apart", len(splits), config.metric,
        )  # fmt: skip
    if len(leaders) == 2 and leaders[0].data.tags["stage"] == "ensemble":
        ensemble, single = leaders
        return weigh(single, ensemble, config.metric)
    return leaders[0]


def val_pictures(run: Run) -> tuple[str | None, ...]:
    """What tells the val pictures of runs apart, of one experiment and by their settings."""
    return (run.data.tags.get("data"), *(run.data.params.get(key) for key in _VAL_PICTURES))


def weigh(single: Run, ensemble: Run, metric: str) -> Run:
    """The ensemble that val holds better where it is so by more than chance, else the single network; says which."""
    measure = measured(metric.removeprefix("best/val_"))
    name, other = ensemble.info.run_name, single.info.run_name
    kept = f"the single network {other} is promoted; promote run={ensemble.info.run_id} takes the ensemble"
    try:
        gain, p = paired_gain(stored_predictions(single, "val"), stored_predictions(ensemble, "val"), measure)
    except BadInput as error:
        log.info("the ensemble %s and the single network cannot be compared on val (%s): %s", name, error, kept)
        return single
    size = f"{gain:+.3f}" if measure == "log_loss" else f"{100 * gain:+.1f} points"
    said = f"the ensemble {name} gains {size} of val {measure.replace('_', ' ')} over {other}"
    if gain > 0 and p < LEVEL:
        log.info("%s, more than chance (p = %.3f): it is promoted", said, p)
        return ensemble
    log.info("%s, within chance (p = %.2f): %s", said, p, kept)
    return single
