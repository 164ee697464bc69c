"""Where pictures come from: each source turns one published form into the one table."""

import inspect
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.data.selection import select_classes
from pipeline.data.table import PictureTable

# The module of each source has a `read(*, name, root, ...) -> PictureTable`; it is imported when asked for.
SOURCES = {
    "digits": "digits",
    "folder": "folder",
    "table": "table_file",
    "inat2021": "inat2021",
    "cub200": "cub200",
    "lists": "lists",
    "camera_traps": "camera_traps",
    "shards": "shards",
}


def read_source(
    source: str,
    *,
    name: str | None = None,
    root: str | None = None,
    classes: int | Sequence[str] | None = None,
    **options: Any,
) -> PictureTable:
    """The table of a known source; `classes` keeps the first so many, or those named.

    Raises `BadInput` for an unknown source or option, and for pictures that are missing or not as it needs them.
    """
    if source not in SOURCES:
        raise BadInput(f"data.source: no source is called {source!r}{did_you_mean(source, SOURCES)}")
    read = import_module(f"{__name__}.{SOURCES[source]}").read
    for option in options:
        if option not in inspect.signature(read).parameters:
            known = inspect.signature(read).parameters
            raise BadInput(f"data.{option}: {source} has no such key{did_you_mean(option, known)}")
    return select_classes(read(name=name, root=root, **options), classes)
