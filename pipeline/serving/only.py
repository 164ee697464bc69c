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
        title = _of_names(table, known, f"{key}={only}")
        names = [str(name) for name in table[title].dropna()] + ([title] if _plain(title) in known else [])
        inside = [name for name in names if _plain(name) in known]
        return inside, len(names) - len(inside)
    if isinstance(only, Mapping):
        several = {rank: [names] if isinstance(names, str) else names for rank, names in only.items()}
        return [f"{rank}:{name}" for rank, names in several.items() for name in names], 0
    return list(only), 0


def of_regions(only: Listed | None, regions: Sequence[str], known: Mapping[str, Sequence[int]]) -> dict[str, list[str]]:
    """The names that a table has for each of some regions: a row is a name, as in a list, and a region where it lives.

    The regions' column is that which has the most of them. BadInput where it lacks one, or has none that is `known`.
    """
    key = "answers.region"
    if not isinstance(only, str):
        raise BadInput(f"{key}: name the table of regions and the species there with answers.only=regions.csv")
    table = read_table(existing(only, "answers.only", "table of regions and names"), "answers.only")
    names = table[_of_names(table, known, f"answers.only={only}")].fillna("").map(lambda name: str(name).strip())
    others = {title: table[title].dropna().map(_plain) for title in table if title != names.name}
    asked = {_plain(region): region for region in regions}
    best = max(others, key=lambda title: len(set(asked).intersection(others[title])), default="")
    there = set(others.get(best, ()))
    if lacking := [region for plain, region in asked.items() if plain not in there]:
        known_regions = [str(one) for column in others.values() for one in table.loc[column.index, column.name]]
        near = did_you_mean(lacking[0], known_regions if not there & set(asked) else list(table[best].dropna()))
        raise BadInput(f"{key}: {only} has no region {first_few(lacking, 3)}{near}")
    found = {}
    for plain, region in asked.items():
        here = names.loc[others[best].index[others[best] == plain]]
        found[region] = [name for name in here if _plain(name) in known]
        if not found[region]:
            raise BadInput(f"{key}: of what {only} has for {region} the model knows nothing, such as {here.iloc[0]!r}")
    return found


def _of_names(table: pd.DataFrame, known: Mapping[str, Sequence[int]], source: str) -> str:
    """The column that names the most classes or taxa, its title among them, as a bare list has none."""
    columns = {title: [title, *map(str, table[title].dropna())] for title in table}
    hits = {title: sum(_plain(name) in known for name in names) for title, names in columns.items()}
    best = max(hits, key=lambda title: hits[title], default="")
    if not hits.get(best):
        raise BadInput(f"{source}: no column names a class that the model knows, nor a taxon above one")
    return best


def among(only: Sequence[str], known: Mapping[str, Sequence[int]], classes: int, key: str) -> np.ndarray:
    """(classes,) bool: which are on a list. BadInput for a name that is not `known`, or a list that leaves none."""
    inside = np.zeros(classes, dtype=bool)
    strange = [name for name in only if _plain(name) not in known]
    if strange:
        near = did_you_mean(_plain(strange[0]), list(known))
        said = first_few([name[:60] for name in strange], 3)
        raise BadInput(f"{key}: the model knows no class and no taxon {said}{near}")
    for name in only:
        inside[list(known[_plain(name)])] = True
    if not inside.any():
        raise BadInput(f"{key}: the list leaves no class; name some, or leave it out")
    return inside


def _plain(name: str) -> str:
    return name.strip().casefold()
