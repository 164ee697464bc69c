"""From a checked config to the things it names: pictures, network, batches. Shared by the doors that run networks."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import Dataset

from pipeline.common.cache_folder import cache_folder
from pipeline.common.errors import BadInput, Stopped, did_you_mean
from pipeline.config import schema
from pipeline.config.schema import Pictures
from pipeline.data.attributes import BY_PICTURE, by_picture, signatures, with_attributes
from pipeline.data.batch import NOTHING, Inputs
from pipeline.data.beside.exif import with_exif
from pipeline.data.beside.files import with_files_beside
from pipeline.data.beside.metadata import with_both
from pipeline.data.beside.paths import labelled_by_path, names_label, with_columns_of_paths
from pipeline.data.beside.registry import KINDS, Beside, fitted, known
from pipeline.data.boxes.crop import COLUMNS
from pipeline.data.boxes.joining import looked_at, with_boxes
from pipeline.data.reading.augmentation import build_augmentation
from pipeline.data.reading.cache import open_cache
from pipeline.data.reading.loading import Answer, PictureBatches, canvas
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.rules import read_rules
from pipeline.data.selection import bootstrapped, part_of_training, select_classes
from pipeline.data.sources import read_source
from pipeline.data.split_files import read_split, write_split
from pipeline.data.splits import split_table
from pipeline.data.table import PICTURE, PictureTable
from pipeline.data.taxonomy import join_taxonomy
from pipeline.data.unseen import unseen_classes
from pipeline.experiment.backbones import backbones
from pipeline.models.below import Below
from pipeline.models.blocks import parameters_below
from pipeline.models.classifier import Classifier, NetworkSpec, build_classifier
from pipeline.models.heads.concepts import Concepts
from pipeline.models.heads.fitted import FittedHead
from pipeline.models.heads.registry import HEADS, HeadSpec, fits_once
from pipeline.models.join import USUAL_SCALE
from pipeline.models.weights import Loaded
from pipeline.tracking.registry import check_renamed
from pipeline.training.checkpoints import has_state
from pipeline.training.features import Features
from pipeline.training.losses import build_loss
from pipeline.training.ranks import Ranks

log = logging.getLogger(__name__)

_MOST_WORKERS = 8
# As it is worded by the system, safetensors, SQLite and torch.save, which names the place in its own code, not why.
_DISK_FULL = ("No space left on device", "Disk quota exceeded", "disk is full", "inline_container.cc")
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "is killed by signal: Killed")


@dataclass(frozen=True)
class Prepared:
    """All that a run needs, checked before it begins; `features` fills up where a backbone, or a part of it, is frozen.

    `table` is what the run uses of `split`, which has every picture but those of classes held out, the `unseen`.
    """

    split: PictureTable
    table: PictureTable
    network: Classifier
    fabric: Fabric
    resolved: dict[str, Any]
    unseen: PictureTable | None = None
    features: dict[tuple[str, int | None], Features] = field(default_factory=dict)
    below: dict[str, Below | None] = field(default_factory=dict)  # by what trains; None where it is not kept
    waited: list[float] = field(default_factory=list)  # seconds, for other processes that made the same features
    ranks: Ranks | None = None  # the processes that share the work, where there are several

    @cached_property
    def beside(self) -> Inputs:
        """What the table knows of its pictures beside their pixels, as the network wants it."""
        return known(self.network.spec.beside, self.table.rows)


def read_pictures(
    data: schema.Data, on_unreadable: Literal["raise", "skip"], *, needs_boxes: bool = True
) -> PictureTable:
    """All pictures of the source, with what their paths say of them, and the columns and boxes that lie beside them."""
    pattern = data.from_path
    if pattern and names_label(pattern):
        if data.source != "folder":
            raise BadInput(f"data.from_path={pattern}: {data.source} has labels of its own; write {{}} for that part")
        table = labelled_by_path(data.root, pattern, name=data.name, on_unreadable=on_unreadable)
    else:
        own = own_options(data)
        if data.source == "cub200":
            own["attributes"] = data.attributes == BY_PICTURE
        if data.source == "table" and data.crop != "none":
            own["animals_by"] = data.box_columns
        table = read_source(data.source, name=data.name, root=data.root, on_unreadable=on_unreadable, **own)
        if pattern:
            table = table.with_rows(with_columns_of_paths(table.rows, pattern))
    rows = with_files_beside(table.rows, table.root, data.beside, "data.beside")
    wanted = with_both(data.metadata)
    table = table.with_rows(with_exif(rows, wanted, lambda: table.sources(np.arange(len(rows)))))
    table = with_attributes(table, data.attributes, data.source)
    return boxes_looked_at(table, data, needed=needs_boxes)


def boxes_looked_at(table: PictureTable, data: schema.Data, *, needed: bool = True) -> PictureTable:
    """The table with the boxes that `data.crop` asks for: a row an animal, where a detector's file is named.

    Where they are not `needed`, pictures that come without any are looked at whole, which is said.
    """
    if data.crop == "none":
        if data.boxes:
            raise BadInput("data.boxes: no box is looked at with data.crop=none; say data.crop=square, or box")
        return table
    if data.boxes:
        return looked_at(with_boxes(table, data.boxes, data.box_confidence), "shares", unit_key="")
    missing = [column for column in data.box_columns if column not in table.rows]
    remedy = "name a detector's file with data.boxes, or columns with data.box_columns"
    if len(missing) == len(COLUMNS) and not needed:
        log.warning("warning: %s has no boxes, so that its pictures are looked at whole: %s", table.name, remedy)
        return table
    if missing:
        known = did_you_mean(missing[0], table.further)
        raise BadInput(f"data.crop={data.crop}: {table.name} has no column {missing[0]!r}{known}; {remedy}")
    return looked_at(table, data.box_unit, data.box_columns)


def all_pictures(data: schema.Data, *, needs_boxes: bool = True) -> PictureTable:
    """The pictures that a config names, with the splits that the set brings or a file tells."""
    table = read_pictures(data, data.on_unreadable, needs_boxes=needs_boxes)
    chosen = select_classes(table, data.classes)
    if data.split.file:
        unseen = unseen_classes(chosen, data.unseen, data.split.seed)
        chosen = read_split(chosen, data.split.file, among=table, drop=data.small_classes == "drop", unseen=unseen)
    return join_taxonomy(chosen, data.taxonomy)


def split_pictures(data: schema.Data, given: PictureTable | None = None) -> PictureTable:
    """The pictures that a config names (`given`, where they are read already), each in its split."""
    split, table = data.split, given or all_pictures(data)
    group = split.group or (PICTURE if PICTURE in table.rows else None)  # animals of a picture stay together
    table = split_table(
        table, val=split.val, test=split.test, seed=split.seed, group=group, folds=split.folds,
        fold=split.fold, small_classes=data.small_classes,
    )  # fmt: skip
    if split.save:
        write_split(table, split.save)
    return table


def picture_table(data: schema.Data, split: PictureTable | None = None) -> PictureTable:
    """Of the pictures in their splits (`split`, where they are known already) those that a run uses."""
    return used_of(data, split or split_pictures(data))


def used_of(data: schema.Data, split: PictureTable) -> PictureTable:
    """Of pictures in their splits those that `data.fraction`, `data.per_class` and `data.bootstrap` choose."""
    part = part_of_training(split, data.fraction, data.split.seed, per_class=data.per_class)
    return bootstrapped(part, data.bootstrap)


def taking_small_classes(data: schema.Data) -> schema.Data:
    """The same, but a class with too few pictures for every split goes to train where a training would stop at it."""
    return data.model_copy(update={"small_classes": "train_only"}) if data.small_classes == "raise" else data


def own_options(data: schema.Data) -> dict[str, Any]:
    """The keys that a source has beside those of all."""
    return {key: value for key, value in data if key != "source" and key not in Pictures.model_fields}


def beside(config: schema.Train, table: PictureTable) -> Beside:
    """What is to be joined to the features, fitted to the training pictures. BadInput where it cannot be."""
    if config.metadata.name == "none":
        return ()
    asked = {name: getattr(config.data, name) for name in KINDS}
    found = fitted(asked, table.rows[[*table.further, "path"]], table.where("train"))
    if found and not getattr(HEADS[config.head.name], "learns", True):
        raise BadInput(f"head={config.head.name} learns nothing from pictures: leave out data.{found[0].name}")
    return found


def network(config: schema.Train, table: PictureTable, beside: Beside = ()) -> tuple[Classifier, list[Loaded]]:
    """The classifier of a table's classes with the weights its regime starts from, and what was loaded.

    Pictures are normalised as those weights were trained. What comes `beside` them is joined to the features.
    """
    classes = table.classes
    if config.regime.trains != "all" and config.regime.weights == "none":
        raise BadInput(
            f"regime.trains={config.regime.trains} leaves the rest of the network as it came, which needs weights: set "
            "regime.weights=pretrained, or train all of it from chance, regime=scratch regime.trains=all"
        )
    pretrained, named_file = config.regime.weights == "pretrained", str(config.model.weights_file)
    if pretrained and named_file.startswith("models:/"):
        check_renamed(named_file, classes)
    if config.model.weights_file and not pretrained:
        log.warning("warning: regime=%s begins from chance: model.weights_file is not read", config.regime.name)
    torch.manual_seed(config.seed)
    head, chosen = HeadSpec.from_dict(config.head.model_dump()), backbones(config)
    shown = signatures(table) if head.kind is Concepts else None
    if shown is not None:
        ruled = bool(head.options["rules"])  # the rules are kept with the weights, not where they came from
        fitted = fits_once(head.name, config.regime.trains)
        told = {"attributes": shown.columns.tolist(), "rules": ruled, "fitted": fitted}
        head = replace(head, options={**head.options, **told})
    made = build_classifier(NetworkSpec.of([one.part(config.data) for one in chosen], len(classes), head, beside))
    if made.join:
        made.join.dropout = config.metadata.dropout
        made.join.scale.fill_(USUAL_SCALE if config.metadata.scale == "auto" else config.metadata.scale)
    parameters_below(made.backbone, config.regime.trains)  # before weights are fetched
    if isinstance(made.head, FittedHead):
        made.head.meet(classes)
    if isinstance(made.head, Concepts) and shown is not None:
        numbers, pictures = pd.factorize(table.rows["path"])
        file = getattr(config.head, "rules", None)
        rules = read_rules(file, classes, made.head.attributes) if file else ()
        made.head.meet_attributes(shown, by_picture(table, made.head.attributes, pictures.tolist()), rules)
        if not made.head.fitted:
            train = table.where("train")
            made.head.begin(torch.from_numpy(table.labels[train]), torch.from_numpy(numbers[train]))
    if not pretrained:
        return made, []
    return made, [one.load(sight.backbone) for one, sight in zip(chosen, made.sights, strict=True)]


def batches(
    config: schema.Train,
    table: PictureTable,
    how: Preprocessing,
    split: str,
    *,
    training: bool = False,
    rows: np.ndarray | None = None,
    view: int | None = None,
    identities: np.ndarray | None = None,
    views: int = 0,
    beside: Inputs = NOTHING,
    reader: Dataset[Answer] | None = None,
    share: tuple[int, int] = (0, 1),
) -> PictureBatches:
    """Batches of a split: shuffled and augmented for training, else in order and as they are.

    `rows` are some of the split's pictures; a `view` is one augmented copy of them, in order, whose chance follows
    their `identities`, where there are some, and not their places in the table. In training each epoch sees the next
    of so many `views`. A `reader` makes them of what is kept.
    """
    augmentation = None
    if not reader and (training or view is not None):
        augmentation = build_augmentation(config.augmentation.name, how.image_size, **config.augmentation.options)
    made = PictureBatches(
        table,
        table.where(split) if rows is None else rows,
        how,
        batch_size=config.trainer.batch_size,
        augmentation=augmentation,
        shuffle=training,
        seed=config.seed,
        num_workers=0
        if reader
        else workers(config.trainer.num_workers, in_memory=table.in_memory, devices=config.trainer.devices),
        share=share,
        reader=reader,
        on_unreadable=config.data.on_unreadable,
        identities=identities,
        views=views,
        beside=beside,
        cache=open_cache(
            "none" if reader else config.data.cache,
            table,
            canvas(how, augmentation),
            most_gb=config.data.cache_gb,
            folder=cache_folder() / "pictures",
        ),
    )
    made.set_epoch(view or 0)
    return made


def workers(asked: int | None, *, in_memory: bool, devices: int = 1) -> int:
    """How many processes read pictures: as asked, else one a core, none for pictures held in memory.

    For each of so many `devices`, whose processes share the cores.
    """
    if asked is not None:
        return asked
    return 0 if in_memory else min(max((os.cpu_count() or 1) // devices, 1), _MOST_WORKERS)


@contextmanager
def memory_in_one_line(batch_size: int, key: str = "trainer.batch_size") -> Iterator[None]:
    """Turn the many ways of running out of memory into a BadInput with the batch size to try."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and not any(sign in text for sign in _OUT_OF_MEMORY):
            raise
        remedy = f"try {key}={batch_size // 2}" if batch_size > 1 else "try a smaller data.image_size"
        raise BadInput(f"out of memory with {key}={batch_size}: {remedy}") from None


@contextmanager
def full_disk_in_one_line(folder: Path, run: str) -> Iterator[None]:
    """Turn the many ways in which a full disk shows itself into Stopped; what was written before stays."""
    try:
        yield
    except Exception as error:
        if not any(sign in str(error) for sign in _DISK_FULL):
            raise
        if has_state(folder / "checkpoints"):
            remedy = "free some, then type the same command again, which goes on with this run"
        else:
            remedy = "free some, then train again"
        where = getattr(error, "filename", None) or folder
        raise Stopped(f"no space is left on the disk of {where}: {remedy}") from None


def loss(config: schema.Train, table: PictureTable) -> nn.Module:
    """The loss, with class weights read off the training pictures."""
    return build_loss(config.loss, classes=table.classes, labels=table.labels[table.where("train")])
