"""Which run is promoted: the best by val, an ensemble only where it is better by more than chance."""

import logging
from contextlib import suppress

from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.errors import BadInput
from pipeline.config import schema
from pipeline.ensembles.gain import LEVEL, measured, paired_gain
from pipeline.predictions.alignment import aligned
from pipeline.tracking.finished import stored_predictions
from pipeline.tracking.liveness import is_under_way
from pipeline.tracking.selection import CHOOSE_BY, by_metric, ensembles, find_experiment, find_run, trained_runs

log = logging.getLogger("pipeline.promote")
# What decides, beside the data set itself, which pictures of an experiment val has.
_VAL_PICTURES = ("data.split.seed", "data.split.fold", "data.split.folds", "data.split.val", "data.split.file")


def champion(client: MlflowClient, config: schema.Promote) -> Run:
    """The run asked for, else the best by the val metric of the experiment or sweep."""
    if config.run and config.sweep:
        raise BadInput("run and sweep both say which run: give one of them")
    metric = config.metric
    if config.run:
        run = find_run(client, config.run)
        if metric not in run.data.metrics:
            raise BadInput(f"run={config.run} has no {metric}: it did not finish; choose another run")
        if is_under_way(run):
            raise BadInput(f"run={config.run}: a process is still at that run; wait for its end")
        return run
    experiment = find_experiment(client, config.tracking.experiment, config.sweep)
    single, voted = (
        by_metric([run for run in find(client, experiment, config.sweep) if metric in run.data.metrics], metric)
        for find in (trained_runs, ensembles)
    )
    # Of equals the first is taken: a single network before an ensemble, which costs more to ask.
    leaders = by_metric([*single[:1], *voted[:1]], metric)
    if not leaders:
        where = f"sweep {config.sweep} of {experiment.name}" if config.sweep else f"experiment {experiment.name}"
        raise BadInput(f"{where} has no finished run with {metric}: train first, or choose another metric")
    splits = {(run.data.tags.get("data"), *map(run.data.params.get, _VAL_PICTURES)) for run in single}
    if len(splits) > 1:
        log.warning(
            "warning: these runs are of %d data sets or splits, so their %s is of different pictures, and the best may "
            "only have had the easiest; python -m pipeline.compare tells them apart", len(splits), metric,
        )  # fmt: skip
    if not single or leaders[0] is single[0]:
        return leaders[0]
    better, said = weigh(single[0], voted[0], metric)
    if better:
        log.info("%s: it is promoted", said)
        return voted[0]
    log.info(
        "%s: the single network %s is promoted; promote run=%s takes the ensemble",
        said, single[0].info.run_name, voted[0].info.run_id,
    )  # fmt: skip
    return single[0]


def weigh(single: Run, ensemble: Run, metric: str = CHOOSE_BY) -> tuple[bool, str]:
    """Whether val holds an ensemble better than a network by more than chance, and how that reads."""
    measure, name = measured(metric.removeprefix("best/val_")), ensemble.info.run_name
    try:
        gain, p = paired_gain(stored_predictions(single, "val"), stored_predictions(ensemble, "val"), measure)
    except BadInput as error:
        return False, f"the ensemble {name} and the single network cannot be compared on val ({error})"
    size = f"{gain:+.3f}" if measure == "log_loss" else f"{100 * gain:+.1f} points"
    said = f"the ensemble {name} gains {size} of val {measure.replace('_', ' ')} over {single.info.run_name}"
    better = gain > 0 and p < LEVEL
    return better, f"{said}, more than chance (p = {p:.3f})" if better else f"{said}, within chance (p = {p:.2f})"


def ensemble_ahead(client: MlflowClient, single: Run, sweep: str | None) -> Run | None:
    """The best of the ensembles, if any, whose val accuracy is higher than a network's on the very same pictures."""
    experiment, own = client.get_experiment(single.info.experiment_id), stored_predictions(single, "val")
    for run in by_metric(ensembles(client, experiment, sweep)):
        if run.data.metrics.get(CHOOSE_BY, 0.0) > own.correct.mean():
            with suppress(BadInput):  # its pictures are others, or its answers are gone
                aligned({"network": own, "ensemble": stored_predictions(run, "val")})
                return run
    return None
