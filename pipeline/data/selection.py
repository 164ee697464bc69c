"""Fewer classes or pictures of a set."""

from collections.abc import Sequence

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
    return table.with_classes(kept)


def _named(table: PictureTable, names: Sequence[str]) -> list[str]:
    wanted = {str(name) for name in names}
    for name in sorted(wanted.difference(table.classes)):
        raise BadInput(f"data.classes: {table.name} has no class {name!r}{did_you_mean(name, table.classes)}")
    return [name for name in table.classes if name in wanted]
