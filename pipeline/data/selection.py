"""Fewer classes or pictures of a set."""

from collections.abc import Sequence

import numpy as np

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.data.table import PictureTable


def select_classes(table: PictureTable, classes: int | Sequence[str] | None) -> PictureTable:
    """The pictures of the first `classes` classes, or of those named; None keeps all. Their order stays."""
    if classes is None:
        return table
    if isinstance(classes, int) and not 2 <= classes <= len(table.classes):
        raise BadInput(
            f"data.classes: {classes} of {len(table.classes)} classes cannot be; it takes 2 or more, at most all"
        )
    kept = table.classes[:classes] if isinstance(classes, int) else _named(table, classes)
    if len(kept) < 2:
        raise BadInput(
            f"data.classes: {classes} leaves {len(kept)} of {len(table.classes)} classes; it takes 2 or more"
        )
    return table.with_classes(kept)


def _named(table: PictureTable, names: Sequence[str]) -> list[str]:
    wanted = {str(name) for name in names}
    for name in sorted(wanted.difference(table.classes)):
        raise BadInput(f"data.classes: {table.name} has no class {name!r}{did_you_mean(name, table.classes)}")
    return [name for name in table.classes if name in wanted]


def part_of_training(
    table: PictureTable, fraction: float = 1, seed: int = 0, *, per_class: int | None = None
) -> PictureTable:
    """A part of the training pictures, of each class alike and at least one of each; val and test stay whole.

    `per_class` is the most of any class. A smaller part lies within a larger one, so that a learning curve only ever
    adds pictures.
    """
    if fraction == 1 and per_class is None:
        return table
    if not 0 < fraction <= 1:
        raise BadInput(f"data.fraction: {fraction} is no part; it is above 0 and at most 1, such as 0.1")
    rows = table.where("train")
    labels = table.labels[rows]
    counts = np.bincount(labels, minlength=len(table.classes))
    order = np.lexsort((np.random.default_rng(seed).random(len(rows)), labels))
    rank = np.arange(len(rows)) - (np.cumsum(counts) - counts)[labels[order]]
    wanted = np.minimum(np.maximum(1, np.rint(counts * fraction)), per_class or np.inf)
    left_out = rows[order[rank >= wanted[labels[order]]]]
    return table.take(np.delete(np.arange(len(table.rows)), left_out))


def bootstrapped(table: PictureTable, seed: int | None) -> PictureTable:
    """As many training pictures of each class, drawn with replacement (Breiman 1996, "Bagging predictors").

    Drawn within each class, so that none is lost; some pictures come several times, about a third never. Val
    and test stay. None leaves all as it is.
    """
    if seed is None:
        return table
    rows = table.where("train")
    rows = rows[np.argsort(table.labels[rows], kind="stable")]
    counts = np.bincount(table.labels[rows], minlength=len(table.classes))
    first, within = np.repeat(np.cumsum(counts) - counts, counts), np.repeat(counts, counts)
    drawn = rows[first + np.floor(np.random.default_rng(seed).random(len(rows)) * within).astype(np.int64)]
    others = np.flatnonzero((table.rows["split"] != "train").to_numpy())
    return table.take(np.sort(np.concatenate([drawn, others])))
