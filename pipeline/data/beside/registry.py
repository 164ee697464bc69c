"""All kinds of input beside the picture by name, and what walks over those that a network wants.

A kind is a class in `KINDS`, a field of `Inputs` and a key under `data.`, all of the same name.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from pipeline.data.batch import Inputs
from pipeline.data.beside.kind import Kind
from pipeline.data.beside.metadata import Metadata

KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in (Metadata,)}

Beside = tuple[Kind, ...]


def fitted(asked: dict[str, Sequence[str]], rows: pd.DataFrame, train: np.ndarray) -> Beside:
    """The inputs that a config asks for by kind, fitted to the rows `train` (k,) of a table. BadInput as they say."""
    return tuple(KINDS[name].fit(wanted, rows, train) for name, wanted in asked.items() if wanted)


def known(beside: Beside, rows: pd.DataFrame) -> Inputs:
    """What n rows know of these inputs, without pixels."""
    return Inputs(**{kind.name: torch.from_numpy(kind.values(rows)) for kind in beside})


def columns_of(several: Iterable[Beside]) -> dict[str, str]:
    """The columns that several networks read, with their types; text where two disagree."""
    found: dict[str, str] = {}
    for kind in (kind for beside in several for kind in beside):
        for column, type_ in kind.columns.items():
            found[column] = type_ if found.get(column, type_) == type_ else "string"
    return found


def to_list(beside: Beside) -> list[dict[str, Any]]:
    """As JSON holds them."""
    return [{"name": kind.name} | kind.to_dict() for kind in beside]


def from_list(plain: Sequence[dict[str, Any]]) -> Beside:
    """The inverse of `to_list`; KeyError or TypeError where something is missing or unknown."""
    return tuple(
        KINDS[one["name"]].from_dict({key: value for key, value in one.items() if key != "name"}) for one in plain
    )
