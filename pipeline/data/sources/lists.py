"""Lists of pictures, as in the cone-shell study: `train.txt`, `val.txt`, lines of `path label [location]`."""

import re
from pathlib import Path

import pandas as pd

from pipeline.data.checks import OnUnreadable, trusted_table
from pipeline.data.files import existing, read_text
from pipeline.data.sources.folder import SUFFIXES
from pipeline.data.table import SPLITS, PictureTable
from pipeline.errors import BadInput, did_you_mean

# Up to the last ending of a picture's name: paths and labels may hold spaces.
LINE = re.compile(
    rf"\s*(?P<path>.+(?:{'|'.join(map(re.escape, SUFFIXES))}))(?:[\s,;]+(?P<rest>.*?))?\s*", re.IGNORECASE
)


def read(
    *,
    name: str | None = None,
    root: str | None = None,
    lists: str | None = None,
    on_unreadable: OnUnreadable = "raise",
) -> PictureTable:
    """The pictures of `train.txt`, `val.txt` and `test.txt` in `lists` (default: `root`), relative to `root`.

    A label is a name in `classes.txt`, or its place there, from 0; so is a location in `locations.txt`. Without
    `classes.txt` labels are names. Raises `BadInput` for a line that is neither.
    """
    folder = existing(root, "data.root", "folder of pictures", folder=True)
    where = folder if lists is None else existing(lists, "data.lists", "folder of the lists", folder=True)
    files = [(split, where / f"{split}.txt") for split in SPLITS if (where / f"{split}.txt").is_file()]
    if not files:
        raise BadInput(f"data.lists: {where} holds none of train.txt, val.txt, test.txt; name their folder")
    classes = _names(where / "classes.txt")
    locations = _names(where / "locations.txt") or []
    rows = [
        (*_parsed(line, f"line {number} of {file}", classes, locations), split)
        for split, file in files
        for number, line in enumerate(read_text(file, "data.lists").splitlines(), start=1)
        if line.strip()
    ]
    listed = pd.DataFrame(rows, columns=["path", "label", "location", "split"])
    if listed["location"].isna().all():
        listed = listed.drop(columns="location")
    return trusted_table(
        listed, name=name or where.name, root=folder, source=f"data.lists: {where}",
        classes=classes, on_unreadable=on_unreadable,
    )  # fmt: skip


def _names(file: Path) -> list[str] | None:
    """One a line; `0 dalli` and `dalli` are the same where all lines are numbered."""
    if not file.is_file():
        return None
    lines = [line.strip() for line in read_text(file, "data.lists").splitlines() if line.strip()]
    numbered = [re.fullmatch(r"(\d+)[\s,;:]+(.+)", line) for line in lines]
    names = [match[2] if match else "" for match in numbered] if all(numbered) else lines
    for twice in {name for name in names if names.count(name) > 1}:
        raise BadInput(f"data.lists: {file} names {twice!r} twice; keep one")
    return names


def _parsed(
    line: str, where: str, classes: list[str] | None, locations: list[str]
) -> tuple[str, str | None, str | None]:
    """Path, label and location of a line; a missing label is the table's to refuse."""
    match = LINE.fullmatch(line)
    if not match:
        raise BadInput(f"data.lists: {where} names no picture: {line.strip()[:60]!r}; write path label")
    path, rest = match["path"], match["rest"]
    if not rest:
        return path, None, None
    label = _named(rest, classes)
    if label is not None:
        return path, label, None
    before, _, last = rest.replace("\t", " ").rpartition(" ")
    label, location = _named(before.strip(), classes), _named(last, locations)
    if label is None:
        known = classes or []
        raise BadInput(
            f"data.lists: {where}: no class is {(before or rest)!r}{did_you_mean(before or rest, known[:50])}"
        )
    if location is None:
        raise BadInput(f"data.lists: {where}: no location is {last!r}{did_you_mean(last, locations)}")
    return path, label, location


def _named(text: str, names: list[str] | None) -> str | None:
    """The name that a text says, or counts to."""
    if names is None or text in names:
        return text or None
    if text.isdecimal() and int(text) < len(names):
        return names[int(text)]
    return None
