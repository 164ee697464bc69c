"""Fewer classes or pictures of a set."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.data.table import PictureTable
from pipeline.errors import BadInput, did_you_mean


def select_classes(table: PictureTable, classes: int | Sequence[str] | None) -> PictureTable:
    """The pictures of the first `classes` classes, or of those named; None keeps all. Their order stays."""
    if classes is None:
        return table
    kept = table.classes[:classes] if isinstance(classes, int) else _named(table, classes)
    if len(kept) < 2:
        raise BadInput(
            f"data.classes: {classes} leaves {len(kept)} of {len(table.classes)} classes; it takes 2 or more"
        )
    return _keep(table, kept)


def _named(table: PictureTable, names: Sequence[str]) -> list[str]:
    wanted = {str(name) for name in names}
    for name in sorted(wanted.difference(table.classes)):
        raise BadInput(f"data.classes: {table.name} has no class {name!r}{did_you_mean(name, table.classes)}")
    return [name for name in table.classes if name in wanted]


def _keep(table: PictureTable, classes: list[str]) -> PictureTable:
    places = np.flatnonzero(table.rows["label"].isin(classes).to_numpy())
    rows = table.rows.iloc[places].reset_index(drop=True)
    rows["label"] = rows["label"].cat.set_categories(classes)
    return replace(
        table,
        rows=rows,
        taxonomy=None if table.taxonomy is None else table.taxonomy.loc[classes],
        pixels=None if table.pixels is None else table.pixels[places],
    )
