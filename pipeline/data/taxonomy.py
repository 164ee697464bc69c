"""From species to kingdom: what is known of each class, beside its name."""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.common.wording import counted, first_few
from pipeline.data.files import check_cells, check_titles, existing, read_table
from pipeline.data.lineage import line
from pipeline.data.table import PictureTable

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
COLUMNS = (*RANKS, "common_name")
_COMMON = r"common_name_[a-z]{2,3}"  # in a language: common_name_es
_LEVEL = r"level_\d+"  # of a tree of one's own, whose taxa have no ranks
# What the column `status` of `python -m pipeline.taxonomy`'s table says; what is to be looked at comes first.
STATUSES = HOMONYM, DOUBTFUL, UNMATCHED, SYNONYM, MATCHED = "homonym", "doubtful", "unmatched", "synonym", "matched"
_SHOWN = 3

log = logging.getLogger(__name__)


def ranks_of(taxonomy: pd.DataFrame) -> list[str]:
    """The ranks that a taxonomy has, from the root down; of a tree of one's own its levels."""
    levels = [column for column in taxonomy if re.fullmatch(_LEVEL, str(column))]
    return [rank for rank in RANKS if rank in taxonomy] + levels


def tidy(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """The columns of a taxonomy among a table's, from the root down, as texts; `species` is made of its two words.

    Common names may be in several languages: `common_name_es`.

    Raises `BadInput`, which begins with `source`, where two columns are of one rank or a cell is no single value.
    """
    titles = pd.Index([str(title).strip().lower().replace(" ", "_") for title in table.columns])
    wanted = titles.isin([*COLUMNS, "specific_epithet"]) | titles.str.fullmatch(f"{_COMMON}|{_LEVEL}")
    named = table.set_axis(titles, axis=1).loc[:, wanted]
    check_titles(list(named.columns), source)
    for column in named:
        check_cells(named[column], source)
        if named[column].dtype == object:
            named[column] = named[column].map(str, na_action="ignore")
    if "species" not in named and {"genus", "specific_epithet"} <= set(named.columns):
        named["species"] = named["genus"].astype("str") + " " + named["specific_epithet"].astype("str")
    further = [column for column in named if column not in COLUMNS and column != "specific_epithet"]
    return named[[*(column for column in COLUMNS if column in named), *further]]


def join_taxonomy(table: PictureTable, file: str | None) -> PictureTable:
    """The set with the taxonomy of a CSV, TSV or Parquet file, which replaces the one it brought.

    The file's column that names the most classes is the key (letter case does not count); a file with the columns
    `name` and `parent` is a tree. A class that it lacks stays, with nothing known of it. Raises `BadInput` where no
    column names a class, one does twice, or a tree is none.
    """
    if file is None:
        return table
    found = existing(file, "data.taxonomy", "table with a row a class")
    known = _certain(read_table(found, "data.taxonomy"), found)
    if {"name", "parent"}.issubset(_lower(known)):
        known = rows_of_tree(known, table.classes, f"data.taxonomy: {found}")
    ranks = tidy(known, f"data.taxonomy: {found}")
    if ranks.empty or not len(ranks.columns):
        raise BadInput(f"data.taxonomy: {found} has none of the columns {', '.join(COLUMNS)}")
    keys = known[_key(known, table, found)].astype("str").str.strip().str.casefold()
    wanted = pd.Index([name.casefold() for name in table.classes])
    repeated = keys[keys.isin(wanted) & keys.duplicated()]
    if len(repeated):
        raise BadInput(f"data.taxonomy: {found} names {repeated.iloc[0]!r} twice; keep one row a class")
    chosen = ranks.set_axis(pd.Index(keys), axis=0)
    joined = chosen[chosen.index.isin(wanted)].reindex(wanted).set_axis(pd.Index(table.classes), axis=0)
    check_parents(joined, f"data.taxonomy: {found}")
    lacking = [name for name, key in zip(table.classes, wanted, strict=True) if key not in chosen.index]
    if lacking:
        log.warning(
            "warning: data.taxonomy: %s has no row for %d of %d classes (%s), which figures by rank leave out", found,
            len(lacking), len(table.classes), first_few(lacking, _SHOWN),
        )  # fmt: skip
    return replace(table, taxonomy=joined)


def rows_of_tree(tree: pd.DataFrame, classes: Sequence[str], source: str) -> pd.DataFrame:
    """A row for each of the classes that a tree knows, by its columns `name`, `parent` and, perhaps, `rank`.

    With ranks these are the columns of a taxonomy, others are passed over; without any, `level_1` is below the root.
    Raises `BadInput`, which begins with `source`, for a taxon of two parents, and for a cycle.
    """
    plain = tree.set_axis(_lower(tree), axis=1).dropna(subset=["name"])
    plain = plain[[column for column in ("name", "parent", "rank") if column in plain]].apply(
        lambda one: one.str.strip()
    )
    plain = plain[plain["name"] != plain["parent"]].drop_duplicates()
    twice = plain[plain["name"].duplicated(keep=False)]
    if len(twice):
        name = twice["name"].iloc[0]
        several = " and ".join(twice.loc[twice["name"] == name, "parent"].fillna("none").drop_duplicates())
        raise BadInput(f"{source}: {name} has two rows, with the parents {several}; keep one of them")
    parents = dict(plain.dropna(subset=["parent"])[["name", "parent"]].itertuples(index=False))
    ranks = {} if "rank" not in plain else dict(zip(plain["name"], plain["rank"].str.lower(), strict=True))
    ranked = any(rank in RANKS for rank in ranks.values())
    named = {name.casefold(): name for name in (*parents.values(), *plain["name"])}
    rows = []
    for one in classes:
        if (name := named.get(one.casefold())) is None:
            continue
        above = line(name, parents, source)
        if ranked:
            rows.append({"name": one} | {ranks[taxon]: taxon for taxon in above if ranks.get(taxon) in RANKS})
        else:
            rows.append({"name": one} | {f"level_{depth}": taxon for depth, taxon in enumerate(above[:0:-1], start=1)})
    if not rows:
        raise BadInput(f"{source}: no name in it is a class, such as {classes[0]!r}")
    deepest = max(rows, key=len)
    levels = pd.DataFrame(rows) if ranked else pd.DataFrame(rows, columns=list(deepest))
    return levels if levels.shape[1] > 1 else levels.assign(level_1=None)


def _lower(table: pd.DataFrame) -> list[str]:
    return [str(title).strip().lower() for title in table.columns]


def _certain(known: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Of a table that `python -m pipeline.taxonomy` wrote the rows that are certain; others are told of."""
    if "status" not in known or not set(known["status"].dropna()) <= set(STATUSES):
        return known
    certain = known["status"].isin([MATCHED, SYNONYM])
    open_ones = set(known.loc[~certain].iloc[:, 0]) - set(known.loc[certain].iloc[:, 0])
    if open_ones:
        named = f"{counted(len(open_ones), 'class')} ({first_few(sorted(open_ones), _SHOWN)})"
        log.warning(
            "warning: data.taxonomy: %s is not sure of %s, of which nothing is taken as known; write %s in the column "
            "status of the rows that are right", file, named, MATCHED,
        )  # fmt: skip
    return known[certain]


def check_parents(taxonomy: pd.DataFrame, source: str) -> None:
    """Raises `BadInput`, with both named, where a taxon has two parents, so that one of them must be a mistake.

    The codes of nomenclature keep names unique within a kingdom only (*Oenanthe* is a bird and a plant), so homonyms
    of two kingdoms are two taxa. Epithets are no names: a `species` counts where it is of two words. Rows that lack
    one of the two ranks say nothing.
    """
    ranks = ranks_of(taxonomy)
    realm = taxonomy["kingdom"] if "kingdom" in taxonomy else pd.Series("", index=taxonomy.index)
    for above, below in pairwise(ranks):
        pairs = pd.DataFrame({"realm": realm, "above": taxonomy[above], "below": taxonomy[below]})
        pairs = pairs.dropna(subset=["above", "below"]).drop_duplicates()
        if below == "species":
            pairs = pairs[pairs["below"].astype("str").str.contains(" ")]
        twice = pairs[pairs.duplicated(["realm", "below"], keep=False)].sort_values("below", kind="stable")
        if len(twice):
            first, second = twice["above"].iloc[:2]
            remedy = "" if "kingdom" in taxonomy else ", or tell homonyms apart by a column kingdom"
            raise BadInput(
                f"{source}: the {below} {twice['below'].iloc[0]} is of two parents, the {above} {first} and "
                f"the {above} {second}; put one of them right{remedy}"
            )


def _key(known: pd.DataFrame, table: PictureTable, file: Path) -> str:
    classes = {name.casefold() for name in table.classes}
    hits = {
        str(title): len(classes.intersection(known[title].dropna().astype("str").str.strip().str.casefold()))
        for title in known.columns
    }
    best = max(hits, key=lambda title: hits[title])
    if not hits[best]:
        raise BadInput(
            f"data.taxonomy: no column of {file} names a class of {table.name}, such as {table.classes[0]!r}"
        )
    return best
