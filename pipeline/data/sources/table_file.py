"""A table of one's own: CSV, TSV or Parquet with a column of paths, one of labels, and any others."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.data.boxes.crop import COLUMNS
from pipeline.data.checks import OnUnreadable, trusted_table
from pipeline.data.corrections import as_labels, is_corrected
from pipeline.data.files import check_cells, check_titles, column, existing, read_table, unguarded, with_numbers
from pipeline.data.table import RENAMED, PictureTable, animals_apart

_NUMBER = "\0number"  # no title of a file holds that
_LOOKED_AT = 20  # files, of millions perhaps


def read(
    *,
    name: str | None = None,
    root: str | None = None,
    file: str | None = None,
    path_column: str = "path",
    label_column: str = "label",
    split_column: str | None = None,
    encoding: str | None = None,
    animals_by: Sequence[str] = (),
    on_unreadable: OnUnreadable = "raise",
) -> PictureTable:
    """The pictures that `file` lists, or that somebody checked in `predict`'s CSV.

    Paths are relative to `root` (default: the file's own folder). Rows of one picture that differ in the columns
    `animals_by`, boxes say, are of several animals in it, and each a row.

    `split_column` None takes a column `split` where there is one. Other columns are kept, numbers as numbers.
    """
    found = existing(file, "data.file", "table of pictures (CSV, TSV or Parquet)")
    folder = found.parent if root is None else existing(root, "data.root", "folder of pictures", folder=True)
    table = read_table(found, "data.file", encoding)
    table.columns = [str(title).strip() for title in table.columns]
    source = f"data.file: {found}"
    check_titles(list(table.columns), source)
    corrected = is_corrected(table) and path_column not in table
    whose = ["picture" if corrected else path_column, *animals_by]
    if animals_by and set(whose) <= set(table):
        table[_NUMBER] = _numbers(table[whose])
    if corrected:
        table = as_labels(table, source).assign(path=lambda rows: [str(folder / one) for one in rows["path"]])
        _check_animals(table, source)
        folder = folder if root else Path(os.path.commonpath([Path(one).parent for one in table["path"]]))
    listed = {
        "path": column(table, path_column, "data.path_column", found),
        "label": column(table, label_column, "data.label_column", found),
    }
    if split_column or "split" in table:
        listed["split"] = column(table, split_column or "split", "data.split_column", found)
    for given in listed.values():
        check_cells(given, source)
    if _guards_texts(listed["path"], folder):
        listed |= {name: unguarded(listed[name]) for name in ("path", "label")}
    used = {path_column, label_column, split_column or "split", _NUMBER}
    others = with_numbers(table[[title for title in table.columns if title not in used]])
    others = others.rename(columns=RENAMED)
    check_titles(list(others.columns), source)
    rows = pd.concat([pd.DataFrame(listed), others], axis=1)
    return trusted_table(
        animals_apart(rows, table[_NUMBER]) if _NUMBER in table else rows,
        name=name or Path(found).stem, root=folder, source=source, on_unreadable=on_unreadable,
        look_for_others=True,
    )  # fmt: skip


def _check_animals(table: pd.DataFrame, source: str) -> None:
    """BadInput where animals of one picture have several labels, and nothing says that they are told apart."""
    several = table["path"][table.groupby("path")["label"].transform("nunique") > 1]
    if len(several) and _NUMBER not in table and set(COLUMNS) <= set(table):
        raise BadInput(
            f"{source}: {several.iloc[0]} shows several kinds: look at each animal with data.crop=square "
            "data.box_unit=shares, or name the answers for whole pictures (..._pictures.csv)"
        )


def _numbers(rows: pd.DataFrame) -> pd.Series:
    """(n,) which animal of its picture, in the first column, each row is of: the others tell them apart."""
    animal = rows.groupby(list(rows), dropna=False, sort=False).ngroup()  # in the order in which they come
    return animal.groupby(rows.iloc[:, 0], dropna=False).rank("dense").astype("int64")


def _guards_texts(paths: pd.Series, folder: Path) -> bool:
    """Whether apostrophes before the paths are what `write_csv` guards texts from spreadsheets by: no file has them."""
    texts = paths.dropna().astype("str")
    plain = unguarded(texts)
    guarded = np.flatnonzero((plain != texts).to_numpy())
    return bool(len(guarded)) and all(
        (folder / plain.iloc[place]).exists() and not (folder / texts.iloc[place]).exists()
        for place in guarded[:_LOOKED_AT]
    )
