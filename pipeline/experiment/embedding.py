"""A frozen network's features of all pictures of a set: prepared, asked, and compared with each other."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.config import schema
from pipeline.data.checks import check_files
from pipeline.data.digest import data_digest
from pipeline.data.splits import group_codes
from pipeline.data.survey.measure import jpegs
from pipeline.data.table import PictureTable
from pipeline.evaluation.flattening import flat
from pipeline.evaluation.neighbourhood import Neighbourhood
from pipeline.evaluation.statistics import interval_of_share
from pipeline.experiment import build
from pipeline.experiment.build import Prepared
from pipeline.experiment.stages import features
from pipeline.reporting.embedding_page import Embedded, embedding_page
from pipeline.reporting.page import save
from pipeline.training.engine import check_engine
from pipeline.training.feature_files import FeatureRows, SideBySide, weights_digest
from pipeline.training.features import Features
from pipeline.training.hardware import make_fabric, resolved

log = logging.getLogger("pipeline.embed")
_MOST = 50_000  # pictures compared with each other: 2,500 million pairs, some minutes on a processor
_ASKED = (1, 5)  # nearest pictures whose answer is scored
_BLOCK = 10_000  # pictures whose features are in memory at once while they are written


def prepare(config: schema.Embed) -> Prepared:
    """Pictures, network and device; what cannot work raises BadInput here."""
    if config.regime.weights == "none":
        raise BadInput(
            f"regime={config.regime.name}: features are asked of a network that has learned: add regime=frozen, and "
            "model.weights_file where the weights are your own"
        )
    if config.model.join:
        raise BadInput(f"model.join: a file holds the features of one network: model={config.model.join[0]}, and so on")
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    check_engine(config.trainer.engine)
    fabric = make_fabric(config.trainer.accelerator, config.trainer.precision)
    data = build.taking_small_classes(config.data)
    split = build.split_pictures(data)
    table = build.picture_table(data, split)
    if data.on_unreadable == "raise":
        check_files(table)
    network, loaded = build.network(config, table)
    for one in loaded:
        log.info("%s", one)
    if config.trainer.channels_last:
        network.to(memory_format=torch.channels_last)
    return Prepared(split, table, network, fabric, resolved(fabric))


def all_features(config: schema.Embed, prepared: Prepared) -> Features:
    """The features of every picture that can be read, whatever its split, in the table's order."""
    table, dtype = prepared.table, prepared.table.rows["split"].dtype
    one_split = table.with_rows(table.rows.assign(split=pd.Series("train", table.rows.index, dtype=dtype)))
    found = features(config, replace(prepared, table=one_split), "train", None)
    if not len(found.rows):
        raise BadInput("none of the pictures can be read; python -m pipeline.explore says why")
    return found


def blocks(values: FeatureRows | SideBySide) -> Iterator[np.ndarray]:
    """Features some pictures at a time."""
    for start in range(0, len(values), _BLOCK):
        yield values.choose(np.arange(start, min(start + _BLOCK, len(values)))).read()


def made_of(config: schema.Embed, prepared: Prepared) -> dict[str, Any]:
    """What features depend on, as JSON holds it."""
    network, table = prepared.network, prepared.table
    return {
        "network": {
            "name": network.spec.name, "options": dict(network.spec.options),
            "weights": config.model.weights_file or config.model.weights,
            "weights_digest": weights_digest(network.backbone.state_dict()),
            "preprocessing": network.parts[0].preprocessing.to_dict(), "reads": network.spec.head.kind.reads,
            "computed": prepared.resolved,
        },
        "data": {"name": config.data.name, "data_digest": data_digest(table), "classes": table.classes},
    }  # fmt: skip


def compare(config: schema.Embed, table: PictureTable, found: Features, how: str, wanted: int | None) -> Embedded:
    """All pictures, or `_MOST` drawn by chance, compared by their features; row `wanted` of the table is among them.

    The accuracy is of those that are not in test alone, among each other, as networks may be chosen by it.
    """
    places = np.arange(len(found.rows))
    if len(places) > _MOST:
        drawn = np.random.default_rng(0).permutation(places)[:_MOST]
        places = np.union1d(drawn, np.flatnonzero(found.rows == wanted))
        log.info("%s of %s pictures, drawn by chance, are compared", f"{_MOST:,}", f"{len(found.rows):,}")
    rows, values, labels = found.rows[places], found.values.choose(places).read(), found.labels[places]
    group = config.data.split.group
    groups = np.arange(len(rows)) if group is None else group_codes(table, group)[rows]
    neighbours = Neighbourhood.of(values, labels, config.neighbours, groups)
    pictures = table.rows[["path", "label", "split"]].iloc[rows]
    chosen = neighbours
    known = (pictures["split"] != "test").to_numpy()
    if known.any() and not known.all():
        chosen = Neighbourhood.of(values[known], labels[known], max(_ASKED), groups[known])
    apart = None if group is None else groups[known] if known.any() else groups
    accuracy = {k: interval_of_share(chosen.correct(k), groups=apart) for k in _ASKED}
    return Embedded(pictures, neighbours, *flat(values, how), config.near, accuracy, len(chosen.labels))


def written_page(file: Path, prepared: Prepared, found: Embedded) -> Path:
    """Write the page of what was found, with the photographs where they can still be read."""
    table, rows = prepared.table, found.pictures.index.to_numpy()

    def small(places: np.ndarray) -> dict[int, bytes]:
        made = jpegs(table, rows[places])
        return {place: made[rows[place]] for place in places.tolist() if rows[place] in made}

    return save(embedding_page(f"{table.name}, as {prepared.network.spec.name} sees it", found, small), file)


def row_of(table: PictureTable, path: str) -> int:
    """The row of a picture by its path, or as the table names it. BadInput where it is none of the table's."""
    names = [path]
    if table.root is not None:
        names.append(os.path.relpath(expanded(path, "neighbours_of").resolve(), Path(table.root).resolve()))
    found = table.rows_of(names)
    if not found:
        alike = get_close_matches(path, table.rows["path"].head(_MOST), n=1)
        nearest = f", but {alike[0]}" if alike else ""
        raise BadInput(f"neighbours_of={path}: {table.name} has no such picture{nearest}")
    return next(found[name] for name in names if name in found)
