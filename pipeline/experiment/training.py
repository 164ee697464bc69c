"""One training: what it needs, checked before it begins, and its stages one after the other."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric

from pipeline.common.errors import BadInput
from pipeline.common.interruption import between_steps
from pipeline.config import schema
from pipeline.config.defaults import defaults
from pipeline.data.batch import Inputs
from pipeline.data.beside.registry import Beside
from pipeline.data.checks import check_files
from pipeline.data.digest import data_digest
from pipeline.data.table import PictureTable
from pipeline.data.taxonomy import join_taxonomy
from pipeline.data.unseen import apart, unseen_classes
from pipeline.experiment import build
from pipeline.experiment.backbones import check_joined, files_digest
from pipeline.experiment.build import Prepared
from pipeline.experiment.by_text import ask_by_text
from pipeline.experiment.own_pictures import OwnPictures
from pipeline.experiment.shared_work import gather_skipped
from pipeline.experiment.stages import Stage, check_epochs, check_fitted, is_fitted, learning, refits, stages
from pipeline.models.backbone import without_memory
from pipeline.models.classifier import Classifier
from pipeline.models.heads.concepts import Concepts
from pipeline.models.regimes import batchnorms, enter, parameter_groups, set_training, synchronise
from pipeline.models.saved import BEFORE_REFIT, NetworkFacts, save_best, save_epoch, save_weights
from pipeline.tracking.runs import config_digest
from pipeline.training.checkpoints import Saver, has_state
from pipeline.training.engine import check_engine
from pipeline.training.fitting import Fitting
from pipeline.training.hardware import check_devices, make_fabric, resolved
from pipeline.training.loop import Epoch, Learner, NothingRead, Progress, fit, layout_of
from pipeline.training.losses import BothWays
from pipeline.training.optimization import Schedule, build_optimizer
from pipeline.training.ranks import Ranks

log = logging.getLogger("pipeline.train")


@dataclass(frozen=True)
class Ground:
    """What a run stands on: the pictures in their splits (`split` all, `table` those it uses), and the device.

    `beside` is what of the table is to be joined to the pictures' features, `unseen` the pictures of classes held out.
    """

    split: PictureTable
    table: PictureTable
    fabric: Fabric
    beside: Beside = ()
    unseen: PictureTable | None = None

    def identity(self, config: schema.Train) -> dict[str, str]:
        """Digests, as the run's tags hold them: runs that have all alike are the same training."""
        plain = config.model_dump(mode="json")
        return {
            "config_digest": config_digest(plain, resolved(self.fabric, processes(config)), defaults(plain)),
            "data_digest": data_digest(self.table),
            "files_digest": files_digest(config, self.beside, self.table),
        }


def ground(config: schema.Train, own: OwnPictures | None = None, typed: Sequence[str] = ()) -> Ground:
    """Pictures (a run's `own` where it is named to go on) and device; what cannot work raises BadInput.

    `typed`: the overrides that its user gave.
    """
    if own is None:
        check_joined(config, typed)
        check_epochs(config)
        check_fitted(config, typed)
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    check_engine(config.trainer.engine)
    fabric = make_fabric(config.trainer.accelerator, config.trainer.precision)
    check_devices(fabric, config.trainer)
    split, table, unseen = own_or_new_pictures(config.data, own)
    if config.data.on_unreadable == "raise":
        check_files(table)
    return Ground(split, table, fabric, build.beside(config, table), unseen)


def prepare(config: schema.Train, base: Ground | None = None) -> Prepared:
    """The network beside pictures and device, all checked: what cannot work raises BadInput here."""
    base = base or ground(config)
    split, table, fabric = base.split, base.table, base.fabric
    network, loaded = build.network(config, table, base.beside)
    for one in loaded:
        log.info("%s", one)
    ask_by_text(config, network, table, fabric.device)
    build.loss(config, table)
    how = network.parts[0].preprocessing
    build.batches(config, table, how, "train", training=True)  # what is known to be unreadable
    check_smallest_batch(config, network)
    check_shared(config, network, fabric)
    return Prepared(split, table, network, fabric, resolved(fabric, processes(config)), base.unseen)


def processes(config: schema.Train) -> int:
    """How many work together."""
    return config.trainer.devices * config.trainer.nodes


def check_shared(config: schema.Train, network: Classifier, fabric: Fabric) -> None:
    """BadInput where several processes cannot learn as one would.

    PyTorch synchronises batch-norm that learns on GPUs only; what `head=concepts` minimises beside its loss is of whole
    batches.
    """
    phase, key = stages(config)[-1].phase, f"trainer.devices={config.trainer.devices}"
    if processes(config) == 1 or phase.trains == "head":
        return
    if isinstance(network.head, Concepts):
        raise BadInput(f"{key}: head=concepts learns in one process, unless the backbone stays as it is: regime=frozen")
    tried = without_memory(lambda: Classifier(network.spec))
    set_training(tried, phase)
    if fabric.device.type != "cuda" and any(layer.training for layer in batchnorms(tried.backbone)):
        raise BadInput(
            f"{key}: batch-norm learns here, which PyTorch keeps alike between processes on GPUs only: add "
            "regime.batchnorm=frozen, take a network without it (convnextv2t, swint, vits), or one process"
        )


def check_smallest_batch(config: schema.Train, network: Classifier) -> None:
    """BadInput where batches are of one picture and batch-norm has to learn from them, which it cannot.

    It needs two values of each channel, so a picture that is still larger than one pixel where the last batch-norm
    stands is enough: the network is asked without computing anything. Of larger batches none is left with one picture.
    """
    phase = stages(config)[-1].phase
    if phase.trains == "head" or config.trainer.batch_size > 1:
        return
    tried, side = without_memory(lambda: Classifier(network.spec)), network.spec.preprocessing.image_size
    set_training(tried, phase)
    with torch.device("meta"):
        try:
            tried(Inputs(pixels=torch.zeros(1, 3, side, side, dtype=torch.uint8)))
        except ValueError:
            raise BadInput(
                f"trainer.batch_size=1: batch-norm cannot learn from one picture at data.image_size={side}; "
                "try trainer.batch_size=2"
            ) from None


def own_or_new_pictures(
    data: schema.Data, own: OwnPictures | None
) -> tuple[PictureTable, PictureTable, PictureTable | None]:
    """The pictures in their splits, those of them that the run uses, and those of classes that are held out."""
    if own:
        unseen = own.unseen and join_taxonomy(own.unseen, data.taxonomy)
        return join_taxonomy(own.split, data.taxonomy), join_taxonomy(own.table, data.taxonomy), unseen
    given = build.all_pictures(data)
    known, unseen = apart(given, unseen_classes(given, data.unseen, data.split.seed))
    split = build.split_pictures(data, known)  # as if the others were not there
    table = build.picture_table(data, split)
    for part, key, remedy in (
        ("train", "data.split", "choose smaller shares for val and test"),
        ("val", "data.split.val", "a run chooses its epoch on val; give it a share, such as data.split.val=0.15"),
    ):
        if not len(table.where(part)):
            own_file = f", or name some in {data.split.file}" if data.split.file else ""
            raise BadInput(f"{key}: no picture is left for {part}; {remedy}{own_file}")
    return split, table, unseen


def train(config: schema.Train, prepared: Prepared, folder: Path, progress: Progress) -> Iterator[Epoch]:
    """The regime's stages one after the other. After each epoch the best weights so far are in `folder`."""
    network, fabric, trainer, table = prepared.network, prepared.fabric, config.trainer, prepared.table

    def best() -> NetworkFacts:
        return NetworkFacts(
            network.spec, tuple(table.classes), table.taxonomy, progress.best_epoch, progress.best_val_accuracy
        )

    if is_fitted(config):
        _, batches = learning(config, prepared, stages(config)[0].phase)
        fitting = Fitting(
            fabric, network, fabric.to_device(build.loss(config, table)), batches("train", training=True),
            batches("val"), torch.from_numpy(pd.factorize(table.rows["path"])[0]),
            views=max(config.regime.views, 1), limit=trainer.limit_batches,
            tries_scales=config.metadata.scale == "auto",
        )  # fmt: skip
        epoch = fitting.once(progress)
        if 1 in trainer.keep_epochs:
            save_epoch(folder, network, 1)
        if refits(config):
            save_weights(folder / BEFORE_REFIT, network)
            fitting.again()
        save_best(folder, network, best())
        yield epoch
        return
    saver = Saver(folder, network, progress, every=60 * trainer.checkpoint_minutes)
    if has_state(folder):
        saver.restore(best)
    for number, stage in enumerate(stages(config)):
        if number < progress.stage:
            continue
        progress.enter(number)
        ranks = prepared.ranks if stage.phase.trains != "head" else None
        _measure_features(config, prepared, stage)
        if ranks:
            ranks.tell((learn_beside, (number, progress, saver.stored)))
        fabric = ranks.fabric if ranks else prepared.fabric
        learner = _learner(config, prepared, stage, saver, ranks)
        with between_steps():
            for epoch in fit(fabric, learner, trainer, progress):
                if ranks:
                    gather_skipped(prepared)
                if epoch.epoch in trainer.keep_epochs:
                    save_epoch(folder, network, epoch.epoch)
                saver.keep(best() if epoch.improved else None)
                yield epoch
                saver.after_step()
    saver.finish()


def learn_beside(
    config: schema.Train, prepared: Prepared, number: int, progress: Progress, stored: dict[str, Any] | None
) -> None:
    """A stage in each process but the first, which has these `progress` and `stored` state and keeps the weights."""
    assert prepared.ranks
    saver = Saver(Path(), prepared.network, progress, every=math.inf)
    saver.stored = stored
    learner = _learner(config, prepared, stages(config)[number], saver, prepared.ranks)
    chance = np.random.default_rng([config.seed, prepared.ranks.place.rank, progress.epoch])
    torch.manual_seed(int(chance.integers(2**63)))  # of dropout: not the first one's, which has other pictures
    for _ in fit(prepared.ranks.fabric, learner, config.trainer, progress):
        gather_skipped(prepared)


@torch.no_grad()  # not inference_mode: weights that are moved here are to learn
def _measure_features(config: schema.Train, prepared: Prepared, stage: Stage) -> None:
    """Bring what is joined, where it has no size yet, to that of the features: those of the first batch."""
    network, fabric = prepared.network, prepared.fabric
    if not network.join or network.join.size:
        return
    _, batches = learning(config, prepared, stage.phase)
    if not (first := next(iter(batches("train", training=True)), None)):
        raise NothingRead
    fabric.to_device(network)
    some = first.inputs.to(fabric.device, layout_of(network))
    network.join.measure(network.eval().features(some))


def _learner(config: schema.Train, prepared: Prepared, stage: Stage, saver: Saver, ranks: Ranks | None) -> Learner:
    """What learns in a stage, its optimizer as the `saver` left it; among `ranks`, with a share of each batch."""
    network, trainer = prepared.network, config.trainer
    fabric, share = (ranks.fabric, {"share": ranks.share}) if ranks else (prepared.fabric, {})
    enter(network, stage.phase)
    if ranks and fabric.device.type == "cuda" and stage.phase.batchnorm == "free":
        synchronise(network)
    learns, batches = learning(config, prepared, stage.phase)
    options = config.optimizer.model_dump(exclude={"name", "lr", "weight_decay"})
    groups = parameter_groups(network, stage.phase, config.optimizer.lr, config.optimizer.weight_decay)
    module, optimizer = fabric.setup(learns, build_optimizer(config.optimizer.name, groups, **options))
    train_batches, val_batches = batches("train", training=True, **share), batches("val", **share)
    steps = -(-min(len(train_batches), trainer.limit_batches or len(train_batches)) // trainer.accumulate)
    shape = config.scheduler.model_dump(exclude_none=True)
    schedule = Schedule(optimizer, epochs=stage.epochs, steps_per_epoch=steps, **shape)
    saver.follow(optimizer, schedule, fabric)
    loss = build.loss(config, prepared.table)
    if network.join:
        loss = BothWays(loss, network.join.dropout)
    learner = Learner(
        module, optimizer, schedule, fabric.to_device(loss), train_batches, val_batches, stage.epochs,
        partial(set_training, network, stage.phase), saver.after_step,
    )  # fmt: skip
    if isinstance(head := network.head, Concepts):
        pictures = torch.from_numpy(pd.factorize(prepared.table.rows["path"])[0])
        return replace(learner, besides=lambda labels, rows: head.besides(labels, pictures[rows]))
    return learner
