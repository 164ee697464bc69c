"""Published lists of taxa in one form: Darwin Core's, GBIF's and iNaturalist's tables, those of iNaturalist 2021."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.data.checklist.names import key, without_authors, words
from pipeline.data.files import existing, read_table
from pipeline.data.lineage import line
from pipeline.data.taxonomy import COLUMNS, RANKS, tidy

# What the published tables call what is wanted of them; the first that is there counts.
_ID = ("id", "taxon_id", "usage_key", "key")
_NAME = ("canonical_name", "scientific_name", "name")
_RANK = ("taxon_rank", "rank")
_ACCEPTED = ("accepted_name_usage_id", "accepted_taxon_key", "accepted_usage_key")
_PARENT = ("parent_name_usage_id", "ancestry")
_COMMON = ("common_name", "vernacular_name")


@dataclass(frozen=True, eq=False)
class Checklist:
    """t taxa: `ids`, `names` without authors, `ranks`, and `accepted`, the row of the name used today (t,) each.

    `columns` (t rows) are those of a taxonomy, empty where the list tells of parents instead: `parents` by row.
    `common` are the common names with the rows that they name.
    """

    file: str
    ids: list[str]
    names: list[str]
    ranks: list[str]
    accepted: list[int]
    columns: pd.DataFrame
    parents: dict[int, int]
    common: list[tuple[str, int]]

    @cached_property
    def by_name(self) -> dict[str, list[int]]:
        """The rows by the keys of their scientific names."""
        return _by_key((name, row) for row, name in enumerate(self.names))

    @cached_property
    def by_common(self) -> dict[str, list[int]]:
        """The rows by the keys of their common names."""
        return _by_key(self.common)

    @cached_property
    def spoken(self) -> list[str]:
        """The common names as words in small letters, in their order."""
        return [" ".join(words(name)).casefold() for name, _ in self.common]

    @cached_property
    def _first_common(self) -> dict[int, str]:
        return {row: name for name, row in reversed(self.common)}

    def taxonomy(self, row: int) -> dict[str, Any]:
        """What a taxonomy says of a taxon: its ranks by name, and its common name."""
        known = {} if self.columns.empty else self.columns.iloc[row].dropna().to_dict()
        for one in line(row, self.parents, f"checklist={self.file}"):
            if self.ranks[one] in RANKS:
                known.setdefault(self.ranks[one], self.names[one])
        if row in self._first_common:
            known.setdefault("common_name", self._first_common[row])
        return {column: known[column] for column in COLUMNS if column in known}


def read_checklist(files: Sequence[str]) -> Checklist:
    """A list of taxa, and of their common names by the taxa's ids. BadInput where none is to be made out."""
    tables = {file: _titled(read_table(existing(file, "checklist", "list of taxa"), "checklist")) for file in files}
    lists = [file for file, table in tables.items() if _first(_NAME, table)]
    if len(lists) != 1:
        raise BadInput(
            f"checklist={', '.join(files)}: one of them must be the list of taxa, with a column scientificName, "
            f"canonicalName or name; {len(lists) or 'none'} of them is"
        )
    table = tables.pop(lists[0])
    name, rank = _first(_NAME, table), _first(_RANK, table)
    names = [without_authors(one) for one in table[name].fillna("").astype(str)]
    ranks = _by_words(names) if rank is None else table[rank].fillna("").str.lower().to_list()
    ids = _ids(table, _ID) or [str(row) for row in range(len(table))]
    rows = {one: row for row, one in enumerate(ids)}
    accepted = [rows.get(one, row) for row, one in enumerate(_ids(table, _ACCEPTED) or ids)]
    parents = {row: rows[one] for row, one in enumerate(_ids(table, _PARENT)) if one in rows and rows[one] != row}
    columns = tidy(table, f"checklist={lists[0]}")
    common = _common(table, list(range(len(table))))
    for file, more in tables.items():
        named = [rows.get(one, -1) for one in _ids(more, _ID)]
        if max(named, default=-1) < 0:
            raise BadInput(f"checklist={file}: its ids name no taxon of {lists[0]}")
        common += _common(more, named)
    found = Checklist(lists[0], ids, names, ranks, accepted, columns, parents, common)
    return found if columns.empty else _with_higher(found)


def _with_higher(found: Checklist) -> Checklist:
    """The list with a row for each genus, family, ... of its columns that it has none of."""
    present = {(rank, name) for rank, name in zip(found.ranks, found.names, strict=True)}
    ranks = [rank for rank in RANKS[:-1] if rank in found.columns]
    above, names, own = [], list[str](), list[str]()
    for place, rank in enumerate(ranks):
        whole = found.columns[ranks[: place + 1]].dropna(subset=[rank]).drop_duplicates()
        whole = whole[[(rank, name) not in present for name in whole[rank]]]
        above.append(whole)
        names += whole[rank].to_list()
        own += [rank] * len(whole)
    first = len(found.names)
    return Checklist(
        found.file, found.ids + [""] * len(names), found.names + names, found.ranks + own,
        found.accepted + list(range(first, first + len(names))),
        pd.concat([found.columns, *above], ignore_index=True), found.parents, found.common,
    )  # fmt: skip


def _titled(table: pd.DataFrame) -> pd.DataFrame:
    """The columns by one way of writing them: scientificName is scientific_name."""
    titles = [re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(title).rpartition(":")[2]).lower() for title in table.columns]
    return table.set_axis(titles, axis=1)


def _first(titles: Sequence[str], table: pd.DataFrame) -> str | None:
    return next((title for title in titles if title in table), None)


def _ids(table: pd.DataFrame, titles: Sequence[str]) -> list[str]:
    """The ids of a column, "" where there is none: the last part of an address, or of a line of ancestors."""
    title = _first(titles, table)
    return [] if title is None else table[title].fillna("").astype(str).str.rsplit("/", n=1).str[-1].to_list()


def _by_words(names: Sequence[str]) -> list[str]:
    """The ranks of names in a list that does not say them: two words are a species."""
    return ["species" if name.count(" ") == 1 else "" for name in names]


def _common(table: pd.DataFrame, rows: Sequence[int]) -> list[tuple[str, int]]:
    """Common names with their rows, of those that are not below 0."""
    title = _first(_COMMON, table)
    texts: Iterable[Any] = [] if title is None else table[title]
    return [(str(name), row) for name, row in zip(texts, rows, strict=False) if row >= 0 and not pd.isna(name)]


def _by_key(named: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for name, row in named:
        found[key(words(name))].append(row)
    found.pop("", None)
    return dict(found)
