"""A table of one's own: CSV, TSV or Parquet with a column of paths, one of labels, and any others."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.checks import OnUnreadable, trusted_table
from pipeline.data.corrections import as_labels, is_corrected
from pipeline.data.files import check_cells, check_titles, column, existing, read_table, unguarded, with_numbers
from pipeline.data.table import OWN_COLUMNS, PictureTable

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
    on_unreadable: OnUnreadable = "raise",
) -> PictureTable:
    """The pictures that `file` lists, or that somebody checked in `predict`'s CSV.

    Paths are relative to `root` (default: the file's own folder).

    `split_column` None takes a column `split` where there is one. Other columns are kept, numbers as numbers.
    """
    found = existing(file, "data.file", "table of pictures (CSV, TSV or Parquet)")
    folder = found.parent if root is None else existing(root, "data.root", "folder of pictures", folder=True)
    table = read_table(found, "data.file", encoding)
    table.columns = [str(title).strip() for title in table.columns]
    source = f"data.file: {found}"
    check_titles(list(table.columns), source)
    if is_corrected(table) and path_column not in table:
        table = as_labels(table, source).assign(path=lambda rows: [str(folder / one) for one in rows["path"]])
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
    used = {path_column, label_column, split_column or "split"}
    others = with_numbers(table[[title for title in table.columns if title not in used]])
    # A further column that bears one of the table's own names makes room for it.
    others = others.rename(columns={own: f"{own}_given" for own in OWN_COLUMNS})
    check_titles(list(others.columns), source)
    return trusted_table(
        pd.concat([pd.DataFrame(listed), others], axis=1),
        name=name or Path(found).stem, root=folder, source=source, on_unreadable=on_unreadable,
        look_for_others=True,
    )  # fmt: skip


def _guards_texts(paths: pd.Series, folder: Path) -> bool:
    """Whether apostrophes before the paths are what `write_csv` guards texts from spreadsheets by: no file has them."""
    texts = paths.dropna().astype("str")
    plain = unguarded(texts)
    guarded = np.flatnonzero((plain != texts).to_numpy())
    return bool(len(guarded)) and all(
        (folder / plain.iloc[place]).exists() and not (folder / texts.iloc[place]).exists()
        for place in guarded[:_LOOKED_AT]
    )
