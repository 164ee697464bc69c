"""From species to kingdom: what is known of each class, beside its name."""

import logging
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.common.wording import first_few
from pipeline.data.files import check_cells, check_titles, existing, read_table
from pipeline.data.table import PictureTable

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
COLUMNS = (*RANKS, "common_name")
_COMMON = r"common_name_[a-z]{2,3}"  # in a language: common_name_es
_SHOWN = 3

log = logging.getLogger(__name__)


def tidy(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """The columns of a taxonomy among a table's, from the root down, as texts; `species` is made of its two words.

    Common names may be in several languages: `common_name_es`.

    Raises `BadInput`, which begins with `source`, where two columns are of one rank or a cell is no single value.
    """
    titles = pd.Index([str(title).strip().lower().replace(" ", "_") for title in table.columns])
    wanted = titles.isin([*COLUMNS, "specific_epithet"]) | titles.str.fullmatch(_COMMON)
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

    The file's column that names the most classes is the key (letter case does not count). A class that it
    lacks stays, with nothing known of it. Raises `BadInput` where no column names a class, or one does twice.
    """
    if file is None:
        return table
    found = existing(file, "data.taxonomy", "table with a row a class")
    known = read_table(found, "data.taxonomy")
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


def check_parents(taxonomy: pd.DataFrame, source: str) -> None:
    """Raises `BadInput`, with both named, where a taxon has two parents, so that one of them must be a mistake.

    The codes of nomenclature keep names unique within a kingdom only (*Oenanthe* is a bird and a plant), so homonyms
    of two kingdoms are two taxa. Epithets are no names: a `species` counts where it is of two words. Rows that lack
    one of the two ranks say nothing.
    """
    ranks = [rank for rank in RANKS if rank in taxonomy]
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
