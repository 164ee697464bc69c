"""Train a network on labelled pictures:   python -m pipeline.train data=folder data.root=~/photos model=resnet50"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from mlflow import MlflowClient

from pipeline.cli.quoting import typed_overrides
from pipeline.cli.sweep import draws_for, job_name
from pipeline.common.names import PARENT_VARIABLE
from pipeline.config import schema
from pipeline.data.remaining import check_what_is_left
from pipeline.experiment import build
from pipeline.experiment.build import Prepared
from pipeline.experiment.own_pictures import OwnPictures, own_pictures
from pipeline.experiment.records import announce, conclude, describe, log_inputs, make_up_for_metrics, run_tags
from pipeline.experiment.stored import unfinished_config
from pipeline.experiment.training import prepare, train
from pipeline.tracking.runs import TrackedRun, flatten, home, tracked_run
from pipeline.tracking.selection import find_run
from pipeline.tracking.store import Store
from pipeline.tracking.sweeps import note_best
from pipeline.training.checkpoints import drop_last
from pipeline.training.loop import Progress

log = logging.getLogger("pipeline.train")


def run(config: schema.Train) -> float:
    """Prepare, train, score once with the best weights; all of it in MLflow. Gives what a sweep maximises."""
    store, own = Store(), None
    if config.resume or (config.model.weights_file or "").startswith(("runs:/", "models:/")):
        store.open()
    if config.resume:
        config, own = unfinished(config.resume, config)
    prepared = prepare(config, own, typed_overrides())
    store.open()
    with tracked(config, prepared) as run:
        log_inputs(config, prepared, run)
        announce(config, prepared, run)
        checkpoints, progress = run.folder / "checkpoints", Progress()
        for number, epoch in enumerate(train(config, prepared, checkpoints, progress)):
            if not number:  # by now every picture of train and val was opened
                check_what_is_left(prepared.table, "train", "val")
            run.log_metrics(epoch.metrics(), step=epoch.epoch)
            log.info("%s", describe(epoch))
        if config.resume:
            make_up_for_metrics(run, progress)
        best = conclude(config, prepared, run, progress, draw=draws_for(run))
        drop_last(checkpoints)
    note_best(run.id, best)
    log.info("next: mlflow ui    to look;    python -m pipeline.promote run=%s    to serve it", run.id)
    return best


@contextmanager
def tracked(config: schema.Train, prepared: Prepared) -> Iterator[TrackedRun]:
    """The run in MLflow; one that goes on keeps the parameters and tags that it began with."""
    params, tags = (
        flatten(config.model_dump(mode="json", exclude={"resume"})),
        run_tags(config, prepared, typed_overrides()),
    )
    if config.resume:
        params, tags = {}, {}
    began = tracked_run(
        config.tracking.experiment, name=run_name(config), tags=tags, params=params, resume=config.resume
    )
    with (
        began as run,
        build.memory_in_one_line(config.trainer.batch_size),
        build.full_disk_in_one_line(run.folder, run.id),
    ):
        yield run


def unfinished(run_id: str, given: schema.Train) -> tuple[schema.Train, OwnPictures]:
    """The config and the pictures of a run that broke off. BadInput where they are no longer what they were."""
    run = find_run(MlflowClient(), run_id, f"resume={run_id}", ("train",))
    config = unfinished_config(run, given, typed_overrides())
    own = own_pictures(run, home(run), config.data)
    own.check_unchanged(f"resume={run_id}")
    if own.difference:
        log.info("%s", own.difference)
    return config, own


def run_name(config: schema.Train) -> str | None:
    """The name asked for; in a sweep, what sets the job apart; else MLflow invents one."""
    if config.tracking.run_name or PARENT_VARIABLE not in os.environ or not HydraConfig.initialized():
        return config.tracking.run_name
    return job_name(typed_overrides()) or None
