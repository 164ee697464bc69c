"""Train a network on labelled pictures:   python -m pipeline.train data=folder data.root=~/photos model=resnet50"""

from __future__ import annotations

import logging
import os
import shlex
from typing import Any

from hydra.core.hydra_config import HydraConfig
from mlflow import MlflowClient

from pipeline.cli.sweep import draws_for, job_name
from pipeline.common.names import PARENT_VARIABLE
from pipeline.common.wording import rate
from pipeline.config import schema
from pipeline.config.defaults import defaults
from pipeline.data.digest import data_digest
from pipeline.data.remaining import check_what_is_left
from pipeline.experiment import build
from pipeline.experiment.build import Prepared
from pipeline.experiment.inference import split_answers
from pipeline.experiment.own_pictures import OwnPictures, own_pictures
from pipeline.experiment.photographs import write_mistakes
from pipeline.experiment.records import (
    count_parameters,
    log_inputs,
    make_up_for_metrics,
    tell_leaks,
    tell_near_leaks,
    tell_other_hardware,
    tell_skipped,
    tell_verdict,
    tell_waited,
)
from pipeline.experiment.stored import unfinished_config
from pipeline.experiment.training import prepare, train
from pipeline.models.saved import BEST_WEIGHTS, fill_network
from pipeline.reporting.run_report import write_report
from pipeline.tracking.runs import TrackedRun, config_digest, flatten, git_sha, home, machine, tracked_run
from pipeline.tracking.selection import find_run
from pipeline.tracking.store import Store
from pipeline.tracking.sweeps import note_best
from pipeline.training.checkpoints import drop_last
from pipeline.training.loop import Epoch, Progress

log = logging.getLogger("pipeline.train")


def run(config: schema.Train) -> float:
    """Prepare, train, score once with the best weights; all of it in MLflow. Gives what a sweep maximises."""
    store = Store()
    if config.resume or (config.model.weights_file or "").startswith(("runs:/", "models:/")):
        store.open()
    own = None
    if config.resume:
        config, own = unfinished(config.resume, config)
    prepared = prepare(config, own)
    store.open()
    return experiment(config, prepared)


def unfinished(run_id: str, given: schema.Train) -> tuple[schema.Train, OwnPictures]:
    """The config and the pictures of a run that broke off. BadInput where they are no longer what they were."""
    run = find_run(MlflowClient(), run_id, f"resume={run_id}")
    config = unfinished_config(run, given, overrides())
    own = own_pictures(run, home(run), config.data)
    own.check_unchanged(f"resume={run_id}")
    if own.difference:
        log.info("%s", own.difference)
    return config, own


def experiment(config: schema.Train, prepared: Prepared) -> float:
    """One run, from its first parameter to its last artifact. Gives its best val accuracy."""
    params, tags = flatten(config.model_dump(mode="json", exclude={"resume"})), run_tags(config, prepared)
    if config.resume:  # the run keeps what it began with
        params, tags = {}, {}
    tracked = tracked_run(
        config.tracking.experiment, name=run_name(config), tags=tags, params=params, resume=config.resume
    )
    batch_size = config.trainer.batch_size
    with tracked as run, build.memory_in_one_line(batch_size), build.full_disk_in_one_line(run.folder, run.id):
        if config.resume:
            tell_other_hardware(prepared, run)
        else:
            log_inputs(config, prepared, run)
        tell_leaks(prepared, run)
        run.log_metrics({"parameters": count_parameters(prepared)})
        announce(config, prepared, run)
        checkpoints, progress = run.folder / "checkpoints", Progress()
        for number, epoch in enumerate(train(config, prepared, checkpoints, progress)):
            if not number:  # by now every picture of train and val was opened
                check_what_is_left(prepared.table, "train", "val")
            run.log_metrics(epoch.metrics(), step=epoch.epoch)
            log.info("%s", describe(epoch))
        if config.resume:
            make_up_for_metrics(run, progress)
        best = conclude(config, prepared, run, progress)
        check_what_is_left(prepared.table, "test")
        tell_skipped(prepared, run)
        tell_waited(prepared, run)
        tell_near_leaks(prepared, run)
        drop_last(checkpoints)
    note_best(run.id, best)
    log.info("next: mlflow ui    to look;    python -m pipeline.promote run=%s    to serve it", run.id)
    return best


def conclude(config: schema.Train, prepared: Prepared, run: TrackedRun, progress: Progress) -> float:
    """Score val and test once with the best epoch's weights; write what there is to look at. Gives val's accuracy."""
    fill_network(prepared.network, run.folder / "checkpoints" / BEST_WEIGHTS)
    predictions = {split: split_answers(config, prepared, split) for split in ("val", "test")}
    metrics = write_report(run.folder, predictions, progress.history, prepared.table.taxonomy, draw=draws_for(run))
    if PARENT_VARIABLE not in os.environ:  # of a sweep's jobs `compare` draws the leaders'
        shown = "test" if len(predictions["test"]) else "val"
        write_mistakes(run.folder, str(run.name), shown, predictions[shown], prepared.table)
    scored = metrics.get("test", {})  # there may be no test, or none of it that can be read
    named = {f"best/val_{name}": value for name, value in metrics["val"].items()}
    named |= {f"test/{name}": value for name, value in scored.items()}
    run.log_metrics({**named, "best/epoch": progress.best_epoch})
    test = scored.get("accuracy")
    log.info(
        "best epoch %d: val accuracy %.2f %%%s", progress.best_epoch, 100 * metrics["val"]["accuracy"],
        "" if test is None else f", test accuracy {100 * test:.2f} %",
    )  # fmt: skip
    tell_verdict(config, prepared, run, progress, predictions["val"].labels)
    return metrics["val"]["accuracy"]


def run_tags(config: schema.Train, prepared: Prepared) -> dict[str, Any]:
    """What a run is found by."""
    plain = config.model_dump(mode="json")

    return {
        "stage": "train",
        **subject_tags(config),
        "git_sha": git_sha(),
        "config_digest": config_digest(plain, prepared.resolved, defaults(plain)),
        "data_digest": data_digest(prepared.table),
        **{f"machine.{name}": value for name, value in prepared.resolved.items()},
        **machine(),
        **config.tracking.tags,
    }


def subject_tags(config: schema.Train) -> dict[str, str]:
    """What a run is about, known before any work."""
    return {
        "model": config.model.name.rpartition("/")[2],
        "regime": config.regime.name,
        "data": config.data.name,
        "overrides": shlex.join(overrides()),
    }


def overrides() -> list[str]:
    """What the user typed."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def run_name(config: schema.Train) -> str | None:
    """The name asked for; in a sweep, what sets the job apart; else MLflow invents one."""
    if config.tracking.run_name or PARENT_VARIABLE not in os.environ or not HydraConfig.initialized():
        return config.tracking.run_name
    return job_name(list(HydraConfig.get().overrides.task)) or None


def announce(config: schema.Train, prepared: Prepared, run: TrackedRun) -> None:
    """What is about to happen, in two lines."""
    millions = count_parameters(prepared) / 1e6
    counts = ", ".join(f"{len(prepared.table.where(split)):,} {split}" for split in ("train", "val", "test"))
    log.info(
        "%s (%.1f M parameters), regime %s, on %s: %s pictures of %d classes", config.model.name, millions,
        config.regime.name, config.data.name, counts, len(prepared.table.classes),
    )  # fmt: skip
    resolved = prepared.resolved
    log.info(
        "%s on %s (%s threads); run %s in experiment %s",
        resolved["precision"], resolved["device"], resolved["threads"], run.name, config.tracking.experiment,
    )  # fmt: skip


def describe(epoch: Epoch) -> str:
    """An epoch in one line."""
    return (
        f"epoch {epoch.epoch:3d}  train loss {epoch.train_loss:.4f} accuracy {100 * epoch.train_accuracy:6.2f} %  "
        f"val loss {epoch.val_loss:.4f} accuracy {100 * epoch.val_accuracy:6.2f} %  "
        f"{rate(epoch.images_per_second)} pictures/s{'  *' if epoch.improved else ''}"
    )
