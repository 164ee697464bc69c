"""Train a network on labelled pictures:   python -m pipeline.train data=folder data.root=~/photos model=resnet50"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from hydra.core.hydra_config import HydraConfig
from mlflow import MlflowClient

from pipeline.cli.sweep import draws_for, job_name
from pipeline.common.names import PARENT_VARIABLE
from pipeline.common.progress import watch
from pipeline.common.wording import rate
from pipeline.config import schema
from pipeline.config.defaults import defaults
from pipeline.data.digest import data_digest
from pipeline.data.remaining import check_what_is_left
from pipeline.data.split_files import keep_split
from pipeline.data.survey.duplicates import leaks, nearest_by_features
from pipeline.data.survey.measure import look_alike
from pipeline.data.table import PictureTable
from pipeline.data.taxonomy import join_taxonomy
from pipeline.evaluation.verdict import Chance, judge
from pipeline.experiment import build
from pipeline.experiment.build import Prepared
from pipeline.experiment.inference import split_answers
from pipeline.experiment.own_pictures import OwnPictures, own_pictures
from pipeline.experiment.stages import check_epochs, learning, stages
from pipeline.experiment.stored import unfinished_config
from pipeline.models.regimes import enter, parameter_groups, set_training
from pipeline.models.saved import BEST_WEIGHTS, NetworkFacts, fill_network, save_epoch
from pipeline.reporting.run_report import write_report
from pipeline.tracking.runs import TrackedRun, config_digest, flatten, git_sha, home, log_dataset, machine, tracked_run
from pipeline.tracking.selection import find_run
from pipeline.tracking.store import Store
from pipeline.tracking.sweeps import note_best
from pipeline.training.checkpoints import Saver, drop_last
from pipeline.training.hardware import make_fabric, resolved
from pipeline.training.loop import Epoch, Progress, fit
from pipeline.training.losses import loss_of_knowing_nothing
from pipeline.training.optimization import Schedule, build_optimizer

_LIKELY, _MOST_LOOKED_AT = 0.7, 300  # cosine of features, pairs: those are opened and compared as pictures

log = logging.getLogger("pipeline.train")


def run(config: schema.Train) -> float:
    """Prepare, train, score once with the best weights; all of it in MLflow. Gives what a sweep maximises."""
    store = Store()  # first, as a new one is made beside the imports that follow
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
    run = find_run(MlflowClient(), run_id)
    config = unfinished_config(run, given, overrides())
    own = own_pictures(run, home(run), config.data)
    own.check_unchanged(f"resume={run_id}")
    if own.difference:
        log.info("%s", own.difference)
    return config, own


def prepare(config: schema.Train, own: OwnPictures | None = None) -> Prepared:
    """Pictures (a run's `own` where it goes on), network and device; what cannot work raises BadInput here."""
    if not config.resume:
        check_epochs(config)
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    fabric = make_fabric(config.trainer.accelerator, config.trainer.precision)
    split, table = own_or_new_pictures(config.data, own)
    network, loaded = build.network(config, len(table.classes))
    if loaded:
        log.info("%s", loaded)
    build.loss(config, table)
    build.batches(config, table, network.spec.preprocessing, "train", training=True)
    return Prepared(split, table, network, fabric, resolved(fabric))


def own_or_new_pictures(data: schema.Data, own: OwnPictures | None) -> tuple[PictureTable, PictureTable]:
    """The pictures in their splits, and those of them that the run uses."""
    if own:
        return join_taxonomy(own.split, data.taxonomy), join_taxonomy(own.table, data.taxonomy)
    split = build.split_pictures(data)
    return split, build.picture_table(data, split)


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
    note_best()
    return best


def train(config: schema.Train, prepared: Prepared, folder: Path, progress: Progress) -> Iterator[Epoch]:
    """The regime's stages one after the other. After each epoch the best weights so far are in `folder`."""
    network, fabric, trainer, table = prepared.network, prepared.fabric, config.trainer, prepared.table

    def best() -> NetworkFacts:
        return NetworkFacts(
            network.spec, tuple(table.classes), table.taxonomy, progress.best_epoch, progress.best_val_accuracy
        )

    saver = Saver(folder, network, progress, fabric)
    if config.resume:
        saver.restore(best)
    loss = fabric.to_device(build.loss(config, table))
    for number, stage in enumerate(stages(config)):
        if number < progress.stage:
            continue
        progress.enter(number)
        enter(network, stage.phase)
        learner, batches = learning(config, prepared, stage.phase)
        options = config.optimizer.model_dump(exclude={"name", "lr", "weight_decay"})
        groups = parameter_groups(network, stage.phase, config.optimizer.lr, config.optimizer.weight_decay)
        module, optimizer = fabric.setup(learner, build_optimizer(config.optimizer.name, groups, **options))
        train_batches, val_batches = batches("train", training=True), batches("val")
        steps = -(-min(len(train_batches), trainer.limit_batches or len(train_batches)) // trainer.accumulate)
        shape = config.scheduler.model_dump(exclude_none=True)
        schedule = Schedule(optimizer, epochs=stage.epochs, steps_per_epoch=steps, **shape)
        saver.follow(optimizer, schedule)
        for epoch in fit(
            module, train_batches, val_batches, fabric=fabric, optimizer=optimizer, schedule=schedule, loss=loss,
            epochs=stage.epochs, progress=progress, train_mode=partial(set_training, network, stage.phase),
            accumulate=trainer.accumulate, clip_norm=trainer.clip_norm, patience=trainer.patience,
            limit_batches=trainer.limit_batches, watch=watch,
        ):  # fmt: skip
            if epoch.epoch in trainer.keep_epochs:
                save_epoch(folder, network, epoch.epoch)
            saver.keep(best() if epoch.improved else None)
            yield epoch


def tell_other_hardware(prepared: Prepared, run: TrackedRun) -> None:
    """Warn where a run goes on with what gives other figures than it began with."""
    tags = MlflowClient().get_run(run.id).data.tags
    for name, value in prepared.resolved.items():
        began = tags.get(f"machine.{name}", str(value))
        if began != str(value):
            log.warning(
                "warning: the run began with %s %s and goes on with %s: its figures need not be as in one go",
                name, began, value,
            )  # fmt: skip


def make_up_for_metrics(run: TrackedRun, progress: Progress) -> None:
    """Log the epochs that were over when the run was killed, but not yet logged."""
    logged = {point.step for point in MlflowClient().get_metric_history(run.id, "val/accuracy")}
    for figures in progress.history:
        epoch = int(figures["epoch"])
        if epoch not in logged:
            run.log_metrics({name: value for name, value in figures.items() if name != "epoch"}, step=epoch)


def conclude(config: schema.Train, prepared: Prepared, run: TrackedRun, progress: Progress) -> float:
    """Score val and test once with the best epoch's weights; write what there is to look at. Gives val's accuracy."""
    fill_network(prepared.network, run.folder / "checkpoints" / BEST_WEIGHTS)
    predictions = {split: split_answers(config, prepared, split) for split in ("val", "test")}
    metrics = write_report(run.folder, predictions, progress.history, prepared.table.taxonomy, draw=draws_for(run))
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
    log.info("next: mlflow ui    to look;    python -m pipeline.promote run=%s    to serve it", run.id)
    return metrics["val"]["accuracy"]


def tell_verdict(
    config: schema.Train, prepared: Prepared, run: TrackedRun, progress: Progress, val_labels: np.ndarray
) -> None:
    """What the curves say in one sentence, beside what could be had without looking; a tag of the run too."""
    table = prepared.table
    trained, classes = table.labels[table.where("train")], len(table.classes)
    chance = Chance(
        loss=loss_of_knowing_nothing(build.loss(config, table), val_labels, trained, classes),
        accuracy=float(np.bincount(val_labels).max() / len(val_labels)), classes=classes, pictures=len(val_labels),
    )  # fmt: skip
    verdict = judge(progress.history, chance, stage_began=progress.stage_began)
    run.set_tags({"verdict": verdict, "verdict.kind": verdict.tag})
    log.info("verdict: %s", verdict)


def tell_skipped(prepared: Prepared, run: TrackedRun) -> None:
    """Count, name and list the pictures that were left out."""
    skipped = prepared.table.skipped
    run.log_metrics({"skipped_pictures": len(skipped)})
    if skipped:
        lines = [f"{path}\t{reason}" for path, reason in skipped.items()]
        text = "\n".join(["path\treason", *lines]) + "\n"
        (run.folder / "skipped.tsv").write_text(text, encoding="utf-8", errors="backslashreplace")
        log.warning("%d pictures were left out, the first: %s (%s)", len(skipped), *next(iter(skipped.items())))


def tell_waited(prepared: Prepared, run: TrackedRun) -> None:
    """Record how long other processes were waited for, which is no time of this run's own."""
    if prepared.waited:
        run.log_metrics({"waited_seconds": sum(prepared.waited)})


def log_inputs(config: schema.Train, prepared: Prepared, run: TrackedRun) -> None:
    """What went in: the composed config and the split as files, the pictures as MLflow's dataset."""
    plain = config.model_dump(mode="json")
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    (run.folder / "config.yaml").write_text(text, encoding="utf-8")
    keep_split(prepared.split, run.folder)
    log_dataset(prepared.table)
    if prepared.split.unlisted is not None:
        run.log_metrics({"data/unlisted": prepared.split.unlisted})


def tell_leaks(prepared: Prepared, run: TrackedRun) -> None:
    """Warn of pictures that are in two splits, which makes val or test say too much; record how many."""
    found = leaks(prepared.table)
    run.set_tags({"data.leaks": len(found)})
    run.log_metrics({"data/leaks": len(found)})
    if found.attrs["unchecked"]:
        log.info("%d pictures were not compared; python -m pipeline.explore does", found.attrs["unchecked"])
    if len(found):
        first = found.iloc[0]
        log.warning(
            "warning: %d pictures of one split are also in another, so val or test will look too good: "
            "%s (%s) is %s (%s); python -m pipeline.explore lists them", len(found), first["path"],
            first["split"], first["other_path"], first["other_split"],
        )  # fmt: skip


def tell_near_leaks(prepared: Prepared, run: TrackedRun) -> None:
    """Where features were made anyway: warn of val's and test's pictures that look like copies of one of train's."""
    made, table = prepared.features, prepared.table
    if ("train", None) not in made or not len(made["train", None].rows):
        return
    train = made["train", None]
    values, pairs, cosines, unchecked = train.values.read(), [], [], 0
    for held in (
        made[split, None] for split in ("val", "test") if (split, None) in made and made[split, None].rows.size
    ):
        nearest, cosine, left = nearest_by_features(values, held.values.read())
        pairs += list(zip(held.rows[: len(nearest)].tolist(), train.rows[nearest].tolist(), strict=True))
        cosines += cosine.tolist()
        unchecked += left
    likeliest = sorted(range(len(pairs)), key=lambda place: -cosines[place])[:_MOST_LOOKED_AT]
    how = prepared.network.spec.preprocessing
    alike = [pairs[place] for place in likeliest if cosines[place] > _LIKELY and look_alike(table, pairs[place], how)]
    run.set_tags({"data.near_leaks": len(alike)})
    run.log_metrics({"data/near_leaks": len(alike)})
    if unchecked:
        log.info("%d pictures were not compared with those of train; python -m pipeline.explore does", unchecked)
    if alike:
        log.warning(
            "warning: %d pictures of val or test look like copies of one of train, so val or test may look too good: "
            "%s is much like %s; python -m pipeline.explore lists them", len(alike),
            *table.rows["path"].iloc[list(alike[0])],
        )  # fmt: skip


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


def count_parameters(prepared: Prepared) -> int:
    """How large the network is, whatever of it trains."""
    return sum(parameter.numel() for parameter in prepared.network.parameters())


def describe(epoch: Epoch) -> str:
    """An epoch in one line."""
    return (
        f"epoch {epoch.epoch:3d}  train loss {epoch.train_loss:.4f} accuracy {100 * epoch.train_accuracy:6.2f} %  "
        f"val loss {epoch.val_loss:.4f} accuracy {100 * epoch.val_accuracy:6.2f} %  "
        f"{rate(epoch.images_per_second)} pictures/s{'  *' if epoch.improved else ''}"
    )
