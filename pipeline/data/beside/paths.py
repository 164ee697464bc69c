"""What a picture's path says of it: `{region}/{label}/{}` or `{label}-{region}-{specimen}.jpg`."""

import logging
import re
from pathlib import Path

import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.common.wording import first_few
from pipeline.data.checks import OnUnreadable, trusted_table
from pipeline.data.table import PICTURE, PictureTable
from pipeline.data.unlabelled import find_pictures

_KEY = "data.from_path"
_RESERVED = ("path", "bytes", PICTURE)
_SHOWN = 3

log = logging.getLogger(__name__)


def names_label(pattern: str | None) -> bool:
    """Whether a pattern says what is on the pictures."""
    return pattern is not None and "label" in _fields(pattern)


def labelled_by_path(
    root: str | None, pattern: str, *, name: str | None = None, on_unreadable: OnUnreadable = "raise"
) -> PictureTable:
    """All pictures under a folder, their labels (and splits, where it says `{split}`) as the pattern finds them.

    BadInput for those that it does not fit; with `on_unreadable="skip"` they are left out.
    """
    if root is None:
        raise BadInput("data.root: name the folder of pictures, as in data.root=~/photos")
    pictures = find_pictures(root, "data.root")
    folder = Path(root).expanduser().absolute()
    paths = pd.Series([str(picture.absolute().relative_to(folder)) for picture in pictures], dtype="str")
    listed = pd.concat([paths.rename("path"), _found(paths, pattern)], axis=1)
    return trusted_table(
        listed, name=name or folder.name, root=folder, source=f"{_KEY}={pattern}", on_unreadable=on_unreadable
    )


def with_columns_of_paths(rows: pd.DataFrame, pattern: str) -> pd.DataFrame:
    """The rows with what the pattern finds in their `path`; pictures that it does not fit are counted and named."""
    found = _found(rows["path"], pattern)
    for column in found:
        if column in rows:
            raise BadInput(f"{_KEY}={pattern}: the set has a column {column} already; write {{}} for that part")
    misses = rows["path"][found.isna().all(axis=1).to_numpy()]
    if len(misses):
        log.warning(
            "%s=%s: %s of %s pictures do not fit, of which it says nothing: %s", _KEY, pattern, f"{len(misses):,}",
            f"{len(rows):,}", first_few(misses.tolist(), _SHOWN),
        )  # fmt: skip
    return pd.concat([rows, found], axis=1)


def _found(paths: pd.Series, pattern: str) -> pd.DataFrame:
    """A column a field, missing where the pattern does not fit. BadInput where it fits no path."""
    found = paths.astype("str").str.extract(f"^(?:.*/)?{_expression(pattern)}$")
    if found.isna().all(axis=None):
        raise BadInput(f"{_KEY}={pattern}: no picture's path fits, such as {paths.iloc[0]}")
    return found.set_axis(paths.index)


def _fields(pattern: str) -> list[str]:
    parts = re.findall(r"\{([^{}]*)\}", pattern)
    named = [part for part in parts if part]
    left = re.sub(r"\{[^{}]*\}", "", pattern)
    if "{" in left or "}" in left or not named:
        raise BadInput(
            f"{_KEY}={pattern}: write {{name}} for what to keep and {{}} for what not: '{{region}}/{{label}}/{{}}'"
        )
    for part in named:
        if not part.isidentifier() or part in _RESERVED or named.count(part) > 1:
            raise BadInput(f"{_KEY}={pattern}: {{{part}}} can name no column; choose another word, once")
    return named


def _expression(pattern: str) -> str:
    """The pattern as a regular expression; where it says nothing of the file's ending, any will do."""
    _fields(pattern)
    text, last = "", 0
    for field in re.finditer(r"\{([^{}]*)\}", pattern):
        inside = f"(?P<{field[1]}>[^/]+?)" if field[1] else "[^/]+?"
        text, last = f"{text}{re.escape(pattern[last : field.start()])}{inside}", field.end()
    ending = re.escape(pattern[last:])
    return text + (ending or r"(?:\.\w+)?")
