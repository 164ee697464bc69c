"""From species to kingdom: what is known of each class, beside its name."""

from pathlib import Path

import pandas as pd

from pipeline.data.files import existing, read_table
from pipeline.data.table import PictureTable
from pipeline.errors import BadInput

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
COLUMNS = (*RANKS, "common_name")


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of a taxonomy among a table's, from the root down; `species` is made of its two words."""
    titles = {title: str(title).strip().lower().replace(" ", "_") for title in table.columns}
    named = table.rename(columns=titles)
    if "species" not in named and {"genus", "specific_epithet"} <= set(named.columns):
        named["species"] = named["genus"].astype("str") + " " + named["specific_epithet"].astype("str")
    return named[[column for column in COLUMNS if column in named]]


def join_taxonomy(table: PictureTable, file: str | None) -> PictureTable:
    """The set with the taxonomy of a CSV, TSV or Parquet file, which replaces the one it brought.

    The file's column that names the most classes is the key (letter case does not count). A class that it
    lacks stays, with nothing known of it. Raises `BadInput` where no column names a class, or one does twice.
    """
    if file is None:
        return table
    found = existing(file, "data.taxonomy", "table with a row a class")
    known = read_table(found, "data.taxonomy")
    ranks = tidy(known)
    if ranks.empty or not len(ranks.columns):
        raise BadInput(f"data.taxonomy: {found} has none of the columns {', '.join(COLUMNS)}")
    keys = known[_key(known, table, found)].astype("str").str.strip().str.casefold()
    wanted = pd.Index([name.casefold() for name in table.classes])
    repeated = keys[keys.isin(wanted) & keys.duplicated()]
    if len(repeated):
        raise BadInput(f"data.taxonomy: {found} names {repeated.iloc[0]!r} twice; keep one row a class")
    chosen = ranks.set_axis(pd.Index(keys), axis=0)
    joined = chosen[chosen.index.isin(wanted)].reindex(wanted).set_axis(pd.Index(table.classes), axis=0)
    return table.with_taxonomy(joined)


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
