"""A regime as what happens one after the other: what learns in each stage, and from what."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.common.cache_folder import cache_folder
from pipeline.common.errors import BadInput
from pipeline.common.wording import percent, size
from pipeline.config import schema
from pipeline.config.keys import OF_GRADIENTS
from pipeline.data.digest import picture_digests, view_identities
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.reading.unreadable import remembered
from pipeline.experiment import build
from pipeline.experiment.build import Prepared
from pipeline.experiment.shared_work import all_do, shared_features
from pipeline.models.below import Below, cut
from pipeline.models.blocks import parameters_below
from pipeline.models.heads.fitted import FittedHead
from pipeline.models.heads.registry import HEADS, HeadSpec, fits_once
from pipeline.models.regimes import Phase
from pipeline.models.sight import Sight
from pipeline.training.feature_files import FeatureFiles, feature_key, weights_digest
from pipeline.training.features import FeatureBatches, Features, Kept, Way, features_of
from pipeline.training.loop import Batches, layout_of

# Of a pass, measured: where a part is a fourteenth of it, reading what is kept takes as long as making it.
_WORTHWHILE = 0.25

log = logging.getLogger("pipeline.train")


@dataclass(frozen=True)
class Stage:
    """A phase of the regime and how many epochs it lasts."""

    phase: Phase
    epochs: int


def stages(config: schema.Train) -> list[Stage]:
    """The head alone first, where the regime says so; then what it is named for. A head that is fitted is so once."""
    regime = config.regime
    if is_fitted(config):
        return [Stage(Phase("head"), epochs=1)]
    main = Phase(regime.trains, backbone_lr=regime.backbone_lr, batchnorm=regime.batchnorm)
    first = [Stage(Phase("head", regime.head_lr), regime.head_epochs)] if regime.head_epochs else []
    return [*first, Stage(main, config.trainer.epochs)]


def is_fitted(config: schema.Train) -> bool:
    """Whether the head is fitted to features, and learns nothing by gradient."""
    return fits_once(config.head.name, config.regime.trains)


def refits(config: schema.Train) -> bool:
    """Whether the head is fitted once more, to train and val: one that learns nothing from pictures is not."""
    return config.trainer.refit and getattr(HEADS[config.head.name], "learns", True)


def check_fitted(config: schema.Train, typed: Sequence[str] = ()) -> None:
    """BadInput where a head is to be fitted that cannot be: its features change, or it knows nothing of the loss.

    Nor of what says how gradients are followed, which nobody can have meant who `typed` it.
    """
    named = f"head={config.head.name}"
    if not is_fitted(config):
        if config.trainer.refit and issubclass(HEADS[config.head.name], FittedHead):
            raise BadInput(f"trainer.refit=true: {named} learns with a backbone that trains: add regime=frozen")
        if config.trainer.refit:
            fitted = ", ".join(name for name, kind in HEADS.items() if issubclass(kind, FittedHead))
            raise BadInput(
                f"trainer.refit=true: {named} learns by gradient, and val says when it is at its best; heads that are "
                f"fitted at once can be so again: {fitted}"
            )
        return
    if config.regime.trains != "head":
        raise BadInput(f"{named} is fitted to the features of a backbone that does not train: add regime=frozen")
    for override in typed:
        if override.lstrip("+").startswith(OF_GRADIENTS):
            raise BadInput(f"{named} learns nothing by gradient: leave out {override}")
        if override.startswith("trainer.epochs="):
            log.info("%s is fitted once: %s says nothing to it", named, override)
    with torch.device("meta"):
        head = HeadSpec.from_dict(config.head.model_dump()).build(1, 2)
    loss = config.loss
    if isinstance(loss, schema.CrossEntropy) and not loss.label_smoothing:
        other = "" if head.weighs or loss.class_weights is None else f"loss={loss.name}"
    else:
        other = "loss.label_smoothing" if isinstance(loss, schema.CrossEntropy) else f"loss={loss.name}"
    if other:
        knows = "cross-entropy, plain or weighted by class" if head.weighs else "no loss that can be chosen"
        raise BadInput(f"{named} minimises {knows}: leave out {other}")


def check_epochs(config: schema.Train) -> None:
    """BadInput where weights of an epoch are to be kept that the stages do not come to."""
    last = sum(stage.epochs for stage in stages(config))
    beyond = [epoch for epoch in config.trainer.keep_epochs if epoch > last]
    if beyond:
        first = f", {config.regime.head_epochs} of them of the head alone" if config.regime.head_epochs else ""
        raise BadInput(f"trainer.keep_epochs={beyond}: the last epoch is {last}{first}")


def learning(config: schema.Train, prepared: Prepared, phase: Phase) -> tuple[nn.Module, Callable[..., Batches]]:
    """What learns in a phase, and what gives a split's batches: pictures, or features where the head learns alone.

    A frozen backbone says the same of a picture in every epoch, so it is asked once; and so does what of one is below
    all that trains, where it is kept.
    """
    network, table = prepared.network, prepared.table
    if config.trainer.channels_last:
        network.to(memory_format=torch.channels_last)
    if phase.trains == "head":
        return network, partial(feature_batches, config, prepared)
    learner: Any = network
    if config.trainer.compile:
        learner = torch.compile(network)
    below = below_kept(config, prepared, phase)
    network.above = below.above if below else None

    def batches(split: str, *, training: bool = False, share: tuple[int, int] = (0, 1)) -> Batches:
        how, rows = network.parts[0].preprocessing, None
        kept, identities, few = None, None, 0
        if below and not (training and _by_chance(config)):
            some, rows = views(config, training=training), _rows(config, prepared, split)
            kept = Kept([features(config, prepared, split, view, below) for view in some])
        elif training and phase.trains != "all" and config.regime.views:  # the same copies, made anew
            few, identities = config.regime.views, view_identities(picture_digests(table, table.where(split)))
        return build.batches(
            config, table, how, split, training=training, rows=rows, identities=identities, views=few,
            beside=prepared.beside, reader=kept, share=share,
        )  # fmt: skip

    return learner, batches


def below_kept(config: schema.Train, prepared: Prepared, phase: Phase) -> Below | None:
    """The lower part of the network, where it stays as it is in a phase and there is room for what it says of pictures.

    Why it is not kept is said once.
    """
    known, trains = prepared.below, phase.trains
    if trains not in known:
        found, said = _below(config, prepared, phase)
        known[trains] = found
        if said:
            log.info("what lies below %s is %s", trains, said)
    return known[trains]


def _below(config: schema.Train, prepared: Prepared, phase: Phase) -> tuple[Below | None, str]:
    network, trainer = prepared.network, config.trainer
    partly = phase.trains.startswith("last:") and parameters_below(network.backbone, phase.trains)
    if not partly or prepared.ranks or trainer.limit_batches or not trainer.feature_cache_gb:
        return None, ""
    with prepared.fabric.autocast():
        prepared.fabric.to_device(network)
        found = cut(network, phase, layout_of(network))
    if not found:
        return None, "asked anew in each epoch: the network cannot be cut there"
    if found.share < _WORTHWHILE:
        return (
            None,
            f"asked anew in each epoch: it is {percent(found.share, 0)} of the work, less than is worth keeping",
        )
    pictures = sum(len(prepared.table.where(split)) for split, _ in asked_once(config, phase))
    room = pictures * found.n_features * torch.float32.itemsize
    if room > trainer.feature_cache_gb * 1e9:
        return None, f"asked anew in each epoch: to keep it takes {size(room)}, more than trainer.feature_cache_gb"
    if _by_chance(config):
        named = config.augmentation.name
        return found, (
            f"kept of val and test alone, as augmentation={named} changes training pictures by chance; "
            "augmentation=none or regime.views=8 keeps it of these too"
        )
    return found, f"asked once, and kept ({size(room)})"


def _by_chance(config: schema.Train) -> bool:
    """Whether training pictures are others in each epoch."""
    return config.augmentation.name != "none" and not config.regime.views


def asked_once(config: schema.Train, phase: Phase) -> list[tuple[str, int | None]]:
    """The splits, and the views of their pictures, about which what is frozen in a phase can be asked once for all.

    A head that trains alone has no other training pictures than those.
    """
    anew = phase.trains != "head" and _by_chance(config)
    train = [] if anew else [("train", view) for view in views(config, training=True)]
    return [*train, ("val", None), ("test", None)]


def feature_batches(config: schema.Train, prepared: Prepared, split: str, *, training: bool = False) -> Batches:
    """Batches of a split's features; in training of as many augmented views as the regime asks for."""
    if training and not config.regime.views and config.augmentation.name != "none":
        log.info("features are of the pictures as they are, without augmentation; regime.views=8 augments them")
    found = [features(config, prepared, split, view) for view in views(config, training=training)]
    few = config.trainer.batch_size
    return FeatureBatches(found, batch_size=few, shuffle=training, seed=config.seed, beside=prepared.beside)


def views(config: schema.Train, *, training: bool) -> list[int | None]:
    """Those of a picture that features are made of: itself (None), or for training so many augmented ones."""
    return list(range(config.regime.views)) if training and config.regime.views else [None]


def features(
    config: schema.Train, prepared: Prepared, split: str, view: int | None, below: Below | None = None
) -> Features:
    """The features of a split's pictures: plain, or of one augmented view; kept in files for other runs.

    Or what the network's part `below` says of them.

    They serve every table that these pictures are in: other splits, folds, samples, sets that have grown or moved.
    """
    key = f"{split}, below" if below else split, view
    if key not in prepared.features:
        asked = wanted(config, prepared, split, view, below)

        def shared(number: int, rows: np.ndarray) -> np.ndarray:
            identities = None if view is None else asked.pictures[np.searchsorted(asked.rows, rows)]
            return all_do(config, prepared, shared_features, number, split, view, rows, identities)

        prepared.features[key] = features_of(
            asked.ways, asked.files, pictures=asked.pictures, rows=asked.rows, labels=prepared.table.labels[asked.rows],
            fabric=prepared.fabric, shared=shared if prepared.ranks else None, engine=config.trainer.engine,
        )  # fmt: skip
    return prepared.features[key]


@dataclass(frozen=True)
class Wanted:
    """Features that a run needs: of which `pictures` (n,) uint64, in which `rows` (n,), made how, and kept where."""

    ways: list[Way]
    files: FeatureFiles
    pictures: np.ndarray
    rows: np.ndarray


def wanted(
    config: schema.Train, prepared: Prepared, split: str, view: int | None, below: Below | None = None
) -> Wanted:
    """What `features` are, before any is made."""
    network, table = prepared.network, prepared.table
    rows = _but_unreadable(config, prepared, _rows(config, prepared, split))
    pictures = picture_digests(table, rows)
    augmented: Any = None
    if view is not None:
        augmented = (config.augmentation.model_dump(), config.seed, view)
        pictures = view_identities(pictures)

    def batches(how: Preprocessing, some: np.ndarray) -> Batches:
        identities = None if view is None else pictures[np.searchsorted(rows, some)]
        return build.batches(config, table, how, split, rows=some, view=view, identities=identities)

    def way(sight: Sight, of: nn.Module, gives: object, by: Sight | Below, kind: torch.dtype) -> Way:
        (part,) = sight.parts
        how = feature_key(
            weights_digest(of.state_dict()), part.name, gives, part.preprocessing.to_dict(),
            prepared.resolved | {"devices": 1}, layout_of(sight), augmented,
        )  # fmt: skip
        return Way(how, by, partial(batches, part.preprocessing), kind)

    if below:
        ways = [way(network, below.graph, below.graph.graph, below, torch.float32)]
    else:  # a backbone's features are the same beside others as alone
        reads = network.spec.head.kind.reads
        ways = [way(sight, sight.backbone, reads, sight, torch.float16) for sight in network.sights]

    files = FeatureFiles(
        cache_folder() / "features", config.trainer.feature_cache_gb, waited=prepared.waited.append,
        pictures_of=f"{table.name}, {table.root or 'in memory'}",
    )  # fmt: skip
    return Wanted(ways, files, pictures, rows)


def _but_unreadable(config: schema.Train, prepared: Prepared, rows: np.ndarray) -> np.ndarray:
    """Those of the rows not known from earlier runs to be unreadable; the others are noted, with the reason."""
    table = prepared.table
    if config.data.on_unreadable != "skip" or not (known := remembered(table)):
        return rows
    paths = table.files.iloc[rows]
    there = paths.isin(list(known)).to_numpy()
    table.skipped.update({path: known[path] for path in paths[there]})
    return rows[~there]


def _rows(config: schema.Train, prepared: Prepared, split: str) -> np.ndarray:
    """The split's pictures; in a smoke test as many as its batches hold, from all over the split."""
    rows = prepared.table.where(split)
    if not config.trainer.limit_batches:
        return rows
    few = config.trainer.limit_batches * config.trainer.batch_size
    return rows[:: max(1, len(rows) // few)][:few]
