"""Tables that lie beside the pictures: their columns are joined to those of the pictures, row by row."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.common.wording import first_few
from pipeline.data.files import cell_text, check_cells, check_titles, existing, read_table, unguarded, with_numbers
from pipeline.data.table import OWN_COLUMNS, RENAMED

log = logging.getLogger(__name__)

OF_PICTURES = ("path", "picture", "image", "file", "filename", "file_name", "name", "stem")  # titles, in small letters
_OF_CLASSES = ("label", "class", "species")
_SHOWN = 3


def with_files_beside(rows: pd.DataFrame, root: Path | None, files: Sequence[str], key: str) -> pd.DataFrame:
    """Rows with `path`, `label` and perhaps others, and the columns that `files` bring, missing where they say nothing.

    A file says by its first column that fits whose its rows are: of pictures (`path`, `picture`, `file`, ..., by path,
    file name or stem), of classes (`label`, `class`, `species`), or a column of the rows themselves (`specimen`). What
    finds no partner is counted and named, on both sides. `key`, the config's, is for messages. Raises `BadInput` where
    nothing fits, and where two rows disagree.
    """
    for file in files:
        rows = _with_file(rows, root, existing(file, key, "table of what is known of the pictures"), f"{key}={file}")
    return rows


def _with_file(rows: pd.DataFrame, root: Path | None, file: Path, source: str) -> pd.DataFrame:
    table = read_table(file, source)
    table.columns = [str(title).strip() for title in table.columns]
    check_titles(list(table.columns), source)
    for title in table:
        check_cells(table[title], source)
    if table.empty:
        raise BadInput(f"{source}: it has no row below its titles")
    title, named, whose = _partners(table, rows, root, source)
    facts = with_numbers(table.drop(columns=title))
    facts = facts.rename(columns=RENAMED)
    facts.insert(0, title, named)
    facts = facts[named.notna()].drop_duplicates()
    if (again := facts[facts[title].duplicated(keep=False)]).size:
        one = again[title].iloc[0]
        raise BadInput(f"{source}: two rows of {title} {one!r} disagree; keep one")
    found = pd.Index(facts[title]).get_indexer(pd.Index(whose))
    tell_some(
        source,
        {
            "pictures of which it says nothing": rows["path"][found < 0],
            "rows of which there is no picture": facts[title].drop(facts.index[np.unique(found[found >= 0])]),
        },
    )
    made = rows.copy()
    for column in facts.columns[1:]:
        there = facts[column].array.take(found, allow_fill=True)
        made[column] = _agreeing(made, column, pd.Series(there, index=rows.index), source) if column in made else there
    return made


def _partners(
    table: pd.DataFrame, rows: pd.DataFrame, root: Path | None, source: str
) -> tuple[str, pd.Series, list[str]]:
    """The column of a file that says whose its rows are, what it calls them (m,), and so each of the pictures (n,)."""
    for title in map(str, table):
        cells = unguarded(table[title].map(cell_text)).replace("", None)
        if title.lower() in OF_PICTURES:
            return title, *known_by(cells, rows["path"], root, source)
        if title.lower() in _OF_CLASSES and rows["label"].notna().any():
            return title, cells, rows["label"].astype("str").tolist()
        if title in rows and title not in OWN_COLUMNS:
            return title, cells, rows[title].map(cell_text).tolist()
    raise BadInput(
        f"{source}: none of its columns says whose its rows are ({first_few(list(table.columns), _SHOWN)}): name one "
        "path, file, stem, label or class"
    )


def known_by(
    cells: pd.Series, paths: pd.Series, root: Path | None, source: str
) -> tuple[pd.Series, list[str]]:  # fmt: skip
    """Pictures by path, file name or stem: by that of which a file has most."""
    above = os.path.join(os.fspath(root or ""), "")  # noqa: PTH118 - text that ends in a separator, which no Path does
    last = cells.str.replace("\\", "/").str.rpartition("/")[2]
    named, names = cells.str.removeprefix(above).str.removeprefix("./"), paths.tolist()
    said = set(named.dropna())
    if not said.issubset(names):
        ways: list[tuple[pd.Series, list[str]]] = [
            (named, names),
            (last, [PurePosixPath(path).name for path in names]),
            (last, [PurePosixPath(path).stem for path in names]),
        ]
        named, names = max(ways, key=lambda way: len(set(way[0]).intersection(way[1])))
        said = set(named.dropna())
    if not said.intersection(names):
        raise BadInput(
            f"{source}: none of its pictures is one of these: it has {min(said, default='none')}, they are "
            f"{paths.iloc[0]}, ..."
        )
    known = pd.Series([name for name in names if name in said])
    if known.duplicated().any():
        raise BadInput(
            f"{source}: {known[known.duplicated()].iloc[0]} is the name of several pictures: give their paths"
        )
    return named, names


def _agreeing(rows: pd.DataFrame, column: str, there: pd.Series, source: str) -> pd.Series:
    """A column that is known already, filled up."""
    own = rows[column]
    both = own.notna() & there.notna()
    if (odd := both & (own.map(cell_text) != there.map(cell_text))).any():
        place = int(np.flatnonzero(odd)[0])
        raise BadInput(
            f"{source}: {column} of {rows['path'].iloc[place]} is {there.iloc[place]} here and {own.iloc[place]} "
            "elsewhere; put one right, or leave that column out"
        )
    return own.where(own.notna(), there)


def tell_some(source: str, kinds: Mapping[str, pd.Series]) -> None:
    """Warn of pictures, or rows, of each of these kinds that a file has: how many they are, and the first."""
    for said, some in kinds.items():
        if len(some):
            log.warning("%s: %s %s: %s", source, f"{len(some):,}", said, first_few(some.astype("str").tolist(), _SHOWN))
