"""Train a network on labelled pictures:   python -m pipeline.train data=folder data.root=~/photos model=resnet50"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from hydra.core.hydra_config import HydraConfig
from mlflow.entities import Run

from pipeline.cli.quoting import typed_overrides
from pipeline.cli.sweep import drawing_beside, job_name
from pipeline.common.names import PARENT_VARIABLE
from pipeline.config import schema
from pipeline.data.remaining import check_what_is_left
from pipeline.experiment import build
from pipeline.experiment.backbones import with_its_size
from pipeline.experiment.build import Prepared
from pipeline.experiment.earlier import config_of, earlier, is_done, take, tell_going_on
from pipeline.experiment.records import (
    announce,
    conclude,
    describe,
    log_inputs,
    logged_epochs,
    make_up_for_metrics,
    run_tags,
)
from pipeline.experiment.training import ground, prepare, train
from pipeline.reporting.run_report import draw_figures
from pipeline.tracking.runs import TrackedRun, flatten, tracked_run
from pipeline.tracking.store import Store
from pipeline.tracking.sweeps import note_best
from pipeline.tracking.weights import drop_weights
from pipeline.training.checkpoints import drop_state
from pipeline.training.loop import Progress

log = logging.getLogger("pipeline.train")


def run(config: schema.Train) -> float | None:
    """Prepare, train, score once with the best weights; all of it in MLflow. Gives what a sweep maximises.

    What the same command did before is not done again: a run that broke off goes on, a sweep's finished job is taken.
    """
    store, own, in_sweep, typed = Store(), None, PARENT_VARIABLE in os.environ, typed_overrides()
    if in_sweep or names_a_run(config):
        store.open()
    if config.resume not in ("auto", "never"):
        config, own = config_of(config.resume, config, typed)
    config = with_its_size(config)
    base = ground(config, own, typed)
    identity = base.identity(config)
    if in_sweep:  # before the network is built
        with earlier(config, identity) as found:
            if found and is_done(found):
                return take(found, typed)
    prepared = prepare(config, base)
    store.open()
    with ExitStack() as until_the_end:
        with earlier(config, identity) as found:
            if found and is_done(found):
                return take(found, typed)
            run = until_the_end.enter_context(tracked(config, prepared, identity, found))
        best = trained(config, prepared, run, goes_on=found is not None)
    beaten, keep = note_best(run.id, best), config.tracking.keep_weights
    if unneeded := run.id if keep == "none" else beaten if keep == "best" else None:
        drop_weights(unneeded)
    log.info("next: mlflow ui    to look;    python -m pipeline.promote run=%s    to serve it", run.id)
    return best


def names_a_run(config: schema.Train) -> bool:
    """Whether something in MLflow is needed before the run can be made."""
    named = (config.model.weights_file or "").startswith(("runs:/", "models:/"))
    return named or config.resume not in ("auto", "never")


def trained(config: schema.Train, prepared: Prepared, run: TrackedRun, *, goes_on: bool) -> float:
    """Train and score; gives the best val accuracy. What a run logged before it broke off is not logged again."""
    log_inputs(config, prepared, run, goes_on=goes_on)
    announce(config, prepared, run)
    checkpoints, progress = run.folder / "checkpoints", Progress()
    logged = logged_epochs(run) if goes_on else set()
    for number, epoch in enumerate(train(config, prepared, checkpoints, progress)):
        if not number:  # by now every picture of train and val was opened
            check_what_is_left(prepared.table, "train", "val")
        if epoch.epoch not in logged:
            run.log_metrics(epoch.metrics(), step=epoch.epoch)
        log.info("%s", describe(epoch))
    if goes_on:
        make_up_for_metrics(run, progress)
    draw = drawing_beside() if run.in_place else None  # files that are sent must be there first
    best = conclude(config, prepared, run, progress, goes_on=goes_on, draw=draw or draw_figures)
    drop_state(checkpoints)
    return best


@contextmanager
def tracked(
    config: schema.Train, prepared: Prepared, identity: Mapping[str, str], earlier: Run | None
) -> Iterator[TrackedRun]:
    """The run in MLflow; an `earlier` one goes on with the parameters and tags that it began with."""
    if earlier is None:
        params = flatten(config.model_dump(mode="json", exclude={"resume"}))
        tags = run_tags(config, prepared, identity, typed_overrides())
    else:
        params, tags = {}, {}
        tell_going_on(earlier, typed_overrides())
    began = tracked_run(
        config.tracking.experiment, name=run_name(config), tags=tags, params=params,
        resume=None if earlier is None else earlier.info.run_id,
    )  # fmt: skip
    with (
        began as run,
        build.memory_in_one_line(config.trainer.batch_size),
        build.full_disk_in_one_line(run.folder, run.id),
    ):
        yield run


def run_name(config: schema.Train) -> str | None:
    """The name asked for; in a sweep, what sets the job apart; else MLflow invents one."""
    if config.tracking.run_name or PARENT_VARIABLE not in os.environ or not HydraConfig.initialized():
        return config.tracking.run_name
    return job_name(typed_overrides()) or None
