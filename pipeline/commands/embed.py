"""A network's features of pictures, and what they show:   python -m pipeline.embed data=folder data.root=~/photos"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from pipeline.cli.output import check_output
from pipeline.common.errors import BadInput
from pipeline.common.wording import counted, percent
from pipeline.config import schema
from pipeline.data.table import PictureTable
from pipeline.evaluation.flattening import chosen
from pipeline.experiment import build
from pipeline.experiment.backbones import with_its_size
from pipeline.experiment.embedding import all_features, blocks, compare, made_of, prepare, row_of, written_page
from pipeline.predictions.feature_table import holds_features, write_features
from pipeline.reporting.embedding_page import Embedded
from pipeline.reporting.tables import Table
from pipeline.reporting.terminal import console
from pipeline.tracking.store import Store, why_unwritable

log = logging.getLogger("pipeline.embed")


def run(config: schema.Embed) -> Path:
    """Ask the network once; its features in a file, which is given back, and what they show on a page beside it."""
    output = check_output(config.output, ".parquet", "features", holds_features)
    page = output.with_suffix(".html")
    if reason := why_unwritable(page):
        raise BadInput(f"output={config.output}: its page {page} cannot be written: {reason}; name another file")
    how = chosen(config.map)
    if (config.model.weights_file or "").startswith(("runs:/", "models:/")):
        Store().open(to_write=False)
    config = with_its_size(config)
    prepared = prepare(config)
    table = prepared.table
    wanted = None if config.neighbours_of is None else row_of(table, config.neighbours_of)
    with build.memory_in_one_line(config.trainer.batch_size):
        found = all_features(config, prepared)
    for path, why in table.skipped.items():
        log.warning("skipped: %s %s", path, why)
    write_features(output, table.rows.iloc[found.rows], blocks(found.values), made_of(config, prepared))
    log.info("features of %s: %s", counted(len(found.rows), "picture"), output)
    compared = compare(config, table, found, how, wanted)
    tell_accuracy(compared)
    log.info("the page: %s", written_page(page, prepared, compared))
    if wanted is not None:
        show_nearest(compared, table, wanted)
    return output


def tell_accuracy(found: Embedded) -> None:
    """How well the features separate the classes without any training."""
    for k, share in found.accuracy.items():
        log.info(
            "right by %s: %s of %s outside test, each left out in turn (95 %% interval %.1f to %.1f)",
            "the nearest picture" if k == 1 else f"the {k} nearest", percent(share.value),
            counted(found.counted_in, "picture"), 100 * share.low, 100 * share.high,
        )  # fmt: skip


def show_nearest(found: Embedded, table: PictureTable, wanted: int) -> None:
    """The neighbours of one picture, nearest first."""
    (place,) = np.flatnonzero(found.pictures.index == wanted) if wanted in found.pictures.index else (None,)
    if place is None:
        raise BadInput(f"neighbours_of={table.rows['path'][wanted]}: this picture cannot be read")
    near, cosine = found.neighbours.near[place], found.neighbours.cosine[place]
    rows = [
        [*found.pictures.iloc[other][["path", "label", "split"]].astype(str), f"{alike:.3f}"]
        for other, alike in zip(near.tolist(), cosine.tolist(), strict=True)
    ]
    log.info("nearest to %s (%s):", *found.pictures.iloc[place][["path", "label"]])
    Table(["picture", "class", "split", "cosine"], rows, figures={"cosine"}, whole={"cosine"}).show(console())
