"""Which taxa of a list classes are, by their names: what is certain, what is not, and what it may be."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from rapidfuzz import fuzz, process
from rapidfuzz.distance import OSA

from pipeline.common.wording import counted
from pipeline.data.checklist.names import LIKE, UNNAMED, are_authors, key, words
from pipeline.data.checklist.reading import Checklist
from pipeline.data.taxonomy import COLUMNS, DOUBTFUL, HOMONYM, MATCHED, RANKS, STATUSES, SYNONYM, UNMATCHED

_MOST = 5  # proposals for a class
_PER_SLIP = 5  # letters of a name for each that may be wrong in it
_MOST_SLIPS = 3
_ALIKE = 80  # of 100, from which on names of other words are proposed


@dataclass(frozen=True)
class Taxon:
    """A taxon that a class may be: its `name` in the list, `how` it was found, its `id` and `taxonomy`."""

    name: str
    how: str
    rank: str
    taxonomy: dict[str, Any]
    id: str = ""


@dataclass(frozen=True)
class Match:
    """What a class may be. Certain (`matched`, `synonym`) it is one taxon, `unmatched` none."""

    label: str
    status: str
    taxa: list[Taxon] = field(default_factory=list)


def match(label: str, checklist: Checklist) -> Match:
    """What the checklist has for a class of that name.

    By its scientific name (authors, a number before it and a subgenus do not count), else by its common one. A name
    misspelt, or of other words, or that means several taxa, is `doubtful`; a scientific one that means taxa of two
    kingdoms a `homonym`.
    """
    parts = words(label)
    like = [one for one in parts if one.lower() in LIKE]
    parts = [one for one in parts if one.lower() not in LIKE]
    for count in sorted({len(parts), 3, 2, 1 if parts[1:2] and parts[1].lower() in UNNAMED else 2}, reverse=True):
        if rows := checklist.by_name.get(key(parts[:count])) if count <= len(parts) else None:
            rest = parts[count:]
            sure = not like and (are_authors(rest) or count == 1)
            how = "scientific name" if sure else f"without {' '.join([*like, *rest])}"
            return _of_names(label, checklist, rows, how, sure=sure)
    if rows := checklist.by_common.get(key(parts)):
        targets = _accepted(checklist, rows)
        status = MATCHED if len(targets) == 1 else DOUBTFUL
        how = "common name" if len(targets) == 1 else "common name of several"
        return Match(label, status, [_taxon(checklist, row, how) for row in targets[:_MOST]])
    likely = dict[int, str]()
    for row, how in _alike(parts, checklist):
        likely.setdefault(checklist.accepted[row], how)
    proposals = [_taxon(checklist, row, how) for row, how in list(likely.items())[:_MOST]]
    return Match(label, DOUBTFUL if proposals else UNMATCHED, proposals)


def _of_names(label: str, checklist: Checklist, rows: list[int], how: str, *, sure: bool) -> Match:
    """What a scientific name means that stands in these rows of the list."""
    rows = [row for row in rows if checklist.ranks[row] in RANKS] or rows  # a genus before its subgenus
    current = [row for row in rows if checklist.accepted[row] == row]
    targets, every = _accepted(checklist, current or rows), _accepted(checklist, rows)
    kingdoms = {checklist.taxonomy(row).get("kingdom", "") for row in every}
    taxa = [_taxon(checklist, row, how) for row in (every if len(kingdoms) > 1 else targets)[:_MOST]]
    if len(kingdoms) > 1:
        return Match(label, HOMONYM, taxa)
    if not sure or len(targets) > 1:
        return Match(label, DOUBTFUL, taxa)
    if current:
        return Match(label, MATCHED, taxa)
    return Match(label, SYNONYM, [_taxon(checklist, targets[0], f"today's name of {checklist.names[rows[0]]}")])


def _alike(parts: list[str], checklist: Checklist) -> list[tuple[int, str]]:
    """Rows, and how: names misspelt, nearest first; else common names of more or fewer words, and of some others."""
    asked = key(parts)
    slips = min(len(asked) // _PER_SLIP, _MOST_SLIPS)
    near = [
        (distance, row)
        for index in (checklist.by_name, checklist.by_common)
        for name, distance, _ in process.extract(
            asked, list(index), scorer=OSA.distance, score_cutoff=slips, limit=_MOST
        )
        for row in index[name]
    ]
    if near:
        return [(row, f"misspelt by {counted(int(slip), 'letter')}") for slip, row in sorted(near)]
    spoken = " ".join(parts).casefold()
    inside = _spoken_like(spoken, checklist, fuzz.token_set_ratio, 100)
    others = _spoken_like(spoken, checklist, fuzz.token_sort_ratio, _ALIKE)
    return [(row, "the same words and others") for row in inside] + [(row, "some of the words") for row in others]


def _spoken_like(asked: str, checklist: Checklist, scorer: Any, least: float) -> list[int]:
    """The rows of common names whose words are like those asked for, and that begin or end with the same one."""
    ends = set(asked.split()[:1] + asked.split()[-1:])
    found = process.extract(asked, checklist.spoken, scorer=scorer, score_cutoff=least, limit=_MOST)
    return [checklist.common[place][1] for name, _, place in found if ends & set(name.split()[:1] + name.split()[-1:])]


def _accepted(checklist: Checklist, rows: Sequence[int]) -> list[int]:
    """The rows of the names used today, each once."""
    return list(dict.fromkeys(checklist.accepted[row] for row in rows))


def _taxon(checklist: Checklist, row: int, how: str) -> Taxon:
    return Taxon(checklist.names[row], how, checklist.ranks[row], checklist.taxonomy(row), checklist.ids[row])


def table_of(matches: Sequence[Match]) -> pd.DataFrame:
    """A row a class and taxon that it may be, what is to be looked at first; one without a taxon has a row too."""
    rows = []
    for one in sorted(matches, key=lambda one: STATUSES.index(one.status)):
        for taxon in one.taxa or [Taxon("", "", "", {})]:
            said = {"label": one.label, "status": one.status, "found": taxon.name, "how": taxon.how, "rank": taxon.rank}
            rows.append(said | {"id": taxon.id} | {column: taxon.taxonomy.get(column) for column in COLUMNS})
    return pd.DataFrame(rows)
