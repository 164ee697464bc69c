"""Attributes of pictures that somebody set by hand: they stand in the stead of what a network reads.

Wherever pictures are asked about they are one column, `attributes_set`, a JSON object a picture: {"red_wing": "yes"}.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.data.attributes import MEANT, called
from pipeline.data.beside.files import with_files_beside
from pipeline.data.cells import whose
from pipeline.data.files import cell_text

COLUMN = "attributes_set"


def with_attributes_set(
    rows: pd.DataFrame, root: Path | None, file: str, known: Collection[str], key: str
) -> pd.DataFrame:
    """Rows with the column, from a CSV `path,attribute,...`. BadInput where it names no attribute of `known`."""
    own = rows[["path", "label"]]
    found = with_files_beside(own, root, [file], key).drop(columns=["path", "label"])
    each = [{name: cell_text(cell) for name, cell in row.items()} for row in found.to_dict("records")]
    some = [{name: text for name, text in one.items() if text} for one in each]
    made = rows.assign(**{COLUMN: [json.dumps(one, ensure_ascii=False) if one else None for one in some]})
    check_set(made, known, f"{key}={file}", list(found))
    return made


def check_set(
    rows: pd.DataFrame, known: Collection[str], said: str = COLUMN, named: Sequence[str] | None = None
) -> None:
    """BadInput where attributes are set that a model does not have, to what cannot be, or to two values.

    `named`: those in question.
    """
    if COLUMN not in rows:
        return
    each = [_read(rows, row) for row in range(len(rows))]
    names = list(dict.fromkeys(name for one in each for name in one)) if named is None else named
    if names and not known:
        raise BadInput(f"{said}: the model reads no attributes: train one with head=concepts, or leave them out")
    places = called(known)
    for name in names:
        if name.casefold() not in places:
            raise BadInput(f"{said}: the model has no attribute {' '.join(name.split())}{did_you_mean(name, known)}")
    for row, one in enumerate(each):
        first = dict[int, tuple[str, float]]()
        for name, share in one.items():
            other = first.setdefault(places[name.casefold()], (name, share))
            if other[1] != share:
                raise BadInput(f"{whose(rows, row)}: {other[0]} and {name} are one attribute; set it to one value")


def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object that names nothing twice, of which JSON itself would keep the last. ValueError otherwise."""
    if len(made := dict(pairs)) < len(pairs):
        raise ValueError("a name stands twice")
    return made


def attributes_set(rows: pd.DataFrame, attributes: Sequence[str]) -> np.ndarray | None:
    """(n, k) float32 shares of the `attributes` that were set, NaN where none was; None where nothing was of any row.

    BadInput, which names the picture, for what is no share.
    """
    if COLUMN not in rows or not attributes:
        return None
    places, found = called(attributes), np.full((len(rows), len(attributes)), np.nan, np.float32)
    for row in range(len(rows)):
        for name, share in _read(rows, row).items():
            if name.casefold() in places:  # else it is another network's
                found[row, places[name.casefold()]] = share
    return None if np.isnan(found).all() else found


def _read(rows: pd.DataFrame, row: int) -> dict[str, float]:
    """Shares by name, of a cell of JSON, or of what it was made of."""
    cell: Any = rows[COLUMN].iloc[row]
    if not isinstance(cell, Mapping):
        try:
            cell = json.loads(cell_text(cell) or "{}", object_pairs_hook=once)
        except (ValueError, RecursionError):
            cell = None
    if not isinstance(cell, Mapping):
        raise BadInput(f'{whose(rows, row)}: {COLUMN} is no JSON object such as {{"red_wing": "yes"}}, each once')
    return {str(name): _share(value, str(name), rows, row) for name, value in cell.items() if value is not None}


def _share(value: Any, name: str, rows: pd.DataFrame, row: int) -> float:
    text = cell_text(str(value))
    share = MEANT.get(text.lower())
    try:
        share = float(text) if share is None else share
    except ValueError:
        share = -1.0
    if not text or not 0 <= share <= 1:
        raise BadInput(f"{whose(rows, row)}: {name} is {text[:40]!r}; it takes yes or no, or a share from 0 to 1")
    return share
