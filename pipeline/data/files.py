"""Tables and lists as people keep them: CSV, TSV, Parquet, plain lines; in an encoding that is certain."""

import codecs
import csv
import io
import math
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.common.paths import expanded

# How pictures' names end. The last line are pictures that are not read: in a table all the same, so that they are
# named when met.
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff",
    ".gif", ".heic", ".heif", ".avif", ".jp2",
)  # fmt: skip
_SEPARATORS = ",;\t|"
_FORMULA = r"'*[=+\-@\t\r]"  # how a cell begins that a spreadsheet would compute, apostrophes before it or none
_MARKS = (  # a byte-order mark says it all
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def existing(path: str | Path | None, key: str, what: str, *, folder: bool = False) -> Path:
    """The absolute path of a file (or folder) that is there; `key` and `what` are for the message otherwise."""
    if path is None:
        raise BadInput(f"{key}: name the {what}, as in {key}=~/{'photos' if folder else 'photos.csv'}")
    found = expanded(path, key).absolute()
    if not found.exists():
        raise BadInput(f"{key}: there is no {'folder' if folder else 'file'} {found}; check its spelling")
    if found.is_dir() != folder:
        kind = "a folder" if found.is_dir() else "a file"
        raise BadInput(f"{key}: {found} is {kind}; name the {what}")
    wrong = not folder and not_a_file(found.stat().st_mode)
    if wrong:
        raise BadInput(f"{key}: {found} {wrong}; name the {what}")
    return found


def not_a_file(mode: int) -> str:
    """Why not to open what has this `st_mode`, "" for a file.

    Opening a pipe waits until somebody writes to it, perhaps for ever; opening a device may do anything.
    """
    if stat.S_ISREG(mode):
        return ""
    return "is a folder, not a picture" if stat.S_ISDIR(mode) else "is not a file but a pipe, a socket or a device"


def read_text(file: Path, key: str, encoding: str | None = None) -> str:
    """A text file's content. It is UTF-8, has a byte-order mark, or its encoding is said: nothing is guessed."""
    try:
        data = file.read_bytes()
    except PermissionError:
        raise BadInput(f"{key}: {file} may not be read; give yourself the right to") from None
    said = encoding or next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(said)
    except LookupError:
        raise BadInput(f"data.encoding: no encoding is called {encoding!r}, such as utf-8 or cp1252") from None
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        line = data.count(b"\n", 0, start) + 1
        remedy = "save it as UTF-8" + ("" if key != "data.file" else ", or say data.encoding=cp1252, say")
        raise BadInput(f"{key}: line {line} of {file} is not {said}; {remedy}") from None
    if "\0" in text:
        raise BadInput(f"{key}: {file} is no text, or its encoding is not {said}; save it as UTF-8")
    if "\ufffd" in text:
        line = text.count("\n", 0, text.index("\ufffd")) + 1
        raise BadInput(
            f"{key}: line {line} of {file} holds '\ufffd', a letter lost in an earlier change of encoding; "
            "save it from its original as UTF-8"
        )
    return text


def read_table(file: Path, key: str, encoding: str | None = None) -> pd.DataFrame:
    """The columns of a CSV, TSV or Parquet file, texts as they stand; an empty field is missing."""
    if file.suffix.lower() in (".parquet", ".pq"):
        try:
            return pd.read_parquet(file)
        except Exception as error:  # Arrow raises several kinds
            raise BadInput(f"{key}: {file} is no whole Parquet file ({_first_line(error)}); save it anew") from None
    text = read_text(file, key, encoding)
    if not text.strip():
        raise BadInput(f"{key}: {file} is empty; its first line should name the columns")
    separator = _separator(file, text)
    try:
        table = pd.read_csv(
            io.StringIO(text), sep=separator, dtype="str", keep_default_na=False, na_values=[""],
            skipinitialspace=True,
        )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise BadInput(f"{key}: {file} cannot be read as a table ({_first_line(error)})") from None
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first fields for names of rows
        raise BadInput(
            f"{key}: {file} has lines with more fields than its first line has columns; "
            'put a text that holds the separator in "quotes"'
        )
    # pandas calls a second column of one title `title.1`; whoever reads it should see what the file says.
    lines = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    titles = next((line for line in lines if line), [])
    if len(titles) == table.shape[1]:
        table.columns = pd.Index([title or given for title, given in zip(titles, table.columns, strict=True)])
    return table


def write_csv(table: pd.DataFrame, file: Path | IO[str], *, index: bool = False) -> None:
    """Write a table for people and spreadsheets: UTF-8, a line a row.

    A text (a class or a file name, a column's name) that begins with `=`, `+`, `-` or `@` would be a formula to a
    spreadsheet: an apostrophe before it says that it is a text. `unguarded` takes it away again; numbers stay as
    they are. https://owasp.org/www-community/attacks/CSV_Injection
    """
    frame = table.reset_index(allow_duplicates=True) if index else table
    guarded = pd.DataFrame(
        {place: _guarded(frame.iloc[:, place]) for place in range(frame.shape[1])}, index=range(len(frame))
    )
    guarded.columns = list(_guarded(pd.Series(frame.columns, dtype=object)))
    guarded.to_csv(file, index=False, lineterminator="\n", encoding="utf-8")


def unguarded(texts: pd.Series) -> pd.Series:
    """Texts as they were before `write_csv` set an apostrophe before what looks like a formula."""
    return texts.str.replace(f"^'(?={_FORMULA})", "", regex=True)


def _guarded(cells: pd.Series) -> np.ndarray:
    """(n,) the cells, texts that look like formulas with an apostrophe before them."""
    if pd.api.types.is_numeric_dtype(cells):
        return cells.array if isinstance(cells.array, pd.api.extensions.ExtensionArray) else cells.to_numpy()
    own = cells.astype(object)
    formula = own.map(lambda cell: isinstance(cell, str) and re.match(_FORMULA, cell) is not None).astype(bool)
    return own.where(~formula, "'" + own.where(formula, "").astype(str)).to_numpy()


def column(table: pd.DataFrame, name: str, key: str, file: Path) -> pd.Series:
    """One column. Raises `BadInput` with those that there are."""
    if name not in table:
        raise BadInput(f"{key}: {file} has no column {name!r}{did_you_mean(name, map(str, table.columns))}")
    return table[name]


def check_titles(titles: Sequence[str], source: str) -> None:
    """Raises `BadInput` where two columns bear one title."""
    twice = next((title for place, title in enumerate(titles) if title in titles[:place]), None)
    if twice is not None:
        raise BadInput(f"{source}: two columns are called {twice!r}; rename one of them, or leave it out")


def check_cells(values: pd.Series, source: str) -> None:
    """Raises `BadInput` for a column, by its name, that holds lists or structures, as a Parquet file's may."""
    if values.dtype == object and any(isinstance(cell, (list, dict, tuple, set, np.ndarray)) for cell in values):
        raise BadInput(f"{source}: the column {values.name!r} holds lists or structures; it takes one value a row")


def cell_text(cell: object) -> str:
    """A cell as text, "" for a blank; 7.0 is 7, as one blank makes floats of a column's whole numbers."""
    if cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def with_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Columns whose every value is a number, as numbers."""
    made = table.copy()
    for name in table.columns:
        numbers = pd.to_numeric(table[name], errors="coerce")
        if numbers.isna().equals(table[name].isna()):
            made[name] = numbers
    return made


def _separator(file: Path, text: str) -> str:
    if file.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    header = text.partition("\n")[0]
    try:
        return csv.Sniffer().sniff(header, _SEPARATORS).delimiter
    except csv.Error:
        return ","  # one column, perhaps


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
