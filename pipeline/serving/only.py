"""Only what lives here: answers out of a list of classes, or of the taxa that they belong to."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.common.wording import first_few
from pipeline.data.files import existing, read_table

Listed = str | Sequence[str] | Mapping[str, str | Sequence[str]]


def called(classes: Sequence[str], taxonomy: pd.DataFrame | None) -> dict[str, list[int]]:
    """The codes of classes by what they may be called, in small letters: themselves, a taxon, or `rank:taxon`."""
    found: dict[str, list[int]] = defaultdict(list)
    for code, name in enumerate(classes):
        found[_plain(name)].append(code)
    for rank, names in {} if taxonomy is None else taxonomy.items():
        for code, name in enumerate(names):
            if not pd.isna(name):
                found[_plain(str(name))].append(code)
                found[f"{rank}:{_plain(str(name))}"].append(code)
    return found


def listed(only: Listed, known: Mapping[str, Sequence[int]], key: str = "answers.only") -> tuple[list[str], int]:
    """The names of a list, of a mapping from ranks to them, or of a file; and how many of the file's are not `known`.

    A file's are those of the column that has the most that are, its title among them, as a bare list has none. BadInput
    where none has any.
    """
    if isinstance(only, str):
        table = read_table(existing(only, key, "table with a name a row"), key)
        columns = {title: [str(name) for name in table[title].dropna()] for title in table}
        for title in columns:
            columns[title] += [title] if _plain(title) in known else []
        best = max(columns.values(), key=lambda names: sum(_plain(name) in known for name in names), default=[])
        inside = [name for name in best if _plain(name) in known]
        if not inside:
            raise BadInput(f"{key}={only}: no column names a class that the model knows, nor a taxon above one")
        return inside, len(best) - len(inside)
    if isinstance(only, Mapping):
        several = {rank: [names] if isinstance(names, str) else names for rank, names in only.items()}
        return [f"{rank}:{name}" for rank, names in several.items() for name in names], 0
    return list(only), 0


def among(only: Sequence[str], known: Mapping[str, Sequence[int]], classes: int, key: str) -> np.ndarray:
    """(classes,) bool: which are on a list. BadInput for a name that is not `known`, or a list that leaves none."""
    inside = np.zeros(classes, dtype=bool)
    strange = [name for name in only if _plain(name) not in known]
    if strange:
        near = did_you_mean(_plain(strange[0]), list(known))
        raise BadInput(f"{key}: the model knows no class and no taxon {first_few(strange, 3)}{near}")
    for name in only:
        inside[list(known[_plain(name)])] = True
    if not inside.any():
        raise BadInput(f"{key}: the list leaves no class; name some, or leave it out")
    return inside


def _plain(name: str) -> str:
    return name.strip().casefold()
