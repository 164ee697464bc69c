"""Lists of pictures, as in the cone-shell study: `train.txt`, `val.txt`, lines of `path label [location]`."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.data.checks import OnUnreadable, trusted_table
from pipeline.data.files import SUFFIXES, existing, read_text
from pipeline.data.table import SPLITS, PictureTable

log = logging.getLogger(__name__)

# Up to the last ending of a picture's name: paths and labels may hold spaces.
LINE = re.compile(
    rf"\s*(?P<path>.+(?:{'|'.join(map(re.escape, SUFFIXES))}))(?:[\s,;]+(?P<rest>.*?))?\s*", re.IGNORECASE
)


def read(
    *,
    name: str | None = None,
    root: str | None = None,
    lists: str | None = None,
    labels_from: int | None = None,
    locations_from: int | None = None,
    on_unreadable: OnUnreadable = "raise",
) -> PictureTable:
    """The pictures of `train.txt`, `val.txt` and `test.txt` in `lists` (default: `root`), relative to `root`.

    A label is a name in `classes.txt`, or its place there; so is a location in `locations.txt`. Without
    `classes.txt` labels are names. Places count from `labels_from` and `locations_from`, 0 or 1, as each list may
    do otherwise; None: from 0 where there is a 0, from 1 where there is no 0 but the number of names, or as the
    names themselves are numbered. Raises `BadInput` where that leaves it open, and for a line that is neither.
    """
    folder = existing(root, "data.root", "folder of pictures", folder=True)
    where = folder if lists is None else existing(lists, "data.lists", "folder of the lists", folder=True)
    files = [(split, where / f"{split}.txt") for split in SPLITS if (where / f"{split}.txt").is_file()]
    if not files:
        raise BadInput(f"data.lists: {where} holds none of train.txt, val.txt, test.txt; name their folder")
    lines = [
        _parsed(line, f"line {number} of {file}", split)
        for split, file in files
        for number, line in enumerate(read_text(file, "data.lists").splitlines(), start=1)
        if line.strip()
    ]
    classes, locations = _names(where / "classes.txt"), _names(where / "locations.txt") or Names([])
    if classes:
        parts = [_label_and_location(line, classes) for line in lines]
        classes = classes.counted(labels_from, [label for label, _ in parts], "data.labels_from")
        locations = locations.counted(locations_from, [last for _, last in parts if last], "data.locations_from")
    rows = [(line.path, *_named(line, classes, locations), line.split) for line in lines]
    listed = pd.DataFrame(rows, columns=["path", "label", "location", "split"])
    if listed["location"].isna().all():
        listed = listed.drop(columns="location")
    return trusted_table(
        listed, name=name or where.name, root=folder, source=f"data.lists: {where}",
        classes=classes.names if classes else None, on_unreadable=on_unreadable, look_for_others=True,
    )  # fmt: skip


class Line(NamedTuple):
    """A line taken apart: the picture, what follows it, its split, and how messages name the line."""

    path: str
    rest: str
    split: str
    where: str


@dataclass(frozen=True)
class Names:
    """The names of a file in their order, and which number stands for which, if any does."""

    names: list[str]
    file: Path | None = None
    numbers: Mapping[int, str] = field(default_factory=dict)

    def counted(self, first: int | None, said: Sequence[str], key: str) -> "Names":
        """These names with their numbers: the file's own, else counted from `first`, else as the texts `said` show.

        Raises `BadInput`, which names `key`, where they do not.
        """
        if self.numbers and first is None:
            return self
        known = set(self.names)
        numbers = {int(text) for text in set(said) if text.isdecimal() and text not in known}
        if first is None and numbers:
            first = self._first(numbers, key)
        return replace(self, numbers=dict(enumerate(self.names, start=first or 0)))

    def _first(self, numbers: set[int], key: str) -> int:
        most = len(self.names)
        if 0 in numbers or max(numbers) > most:  # too large a number is the line's to refuse
            return 0
        if max(numbers) == most:
            log.info("%s=1 is taken: of %d names the lists have number %d, and no 0", key, most, most)
            return 1
        raise BadInput(
            f"{key}: the lists have the numbers {min(numbers)} to {max(numbers)} for the {most} names of {self.file}, "
            f"which may count from 0 or from 1: say {key}=0 ({min(numbers)} is {self.names[min(numbers)]}) or "
            f"{key}=1 ({self.names[min(numbers) - 1]})"
        )

    def find(self, text: str) -> str | None:
        """The name that a text says, or counts to."""
        if text in self.names:
            return text or None
        return self.numbers.get(int(text)) if text.isdecimal() else None


def _names(file: Path) -> Names | None:
    """One a line; where all lines are numbered (`0 dalli`), those are the numbers."""
    if not file.is_file():
        return None
    lines = [line.strip() for line in read_text(file, "data.lists").splitlines() if line.strip()]
    numbered = [match for line in lines if (match := re.fullmatch(r"(\d+)[\s,;:]+(.+)", line))]
    own = len(numbered) == len(lines)
    names = [match[2] for match in numbered] if own else lines
    for twice in {name for name in names if names.count(name) > 1}:
        raise BadInput(f"data.lists: {file} names {twice!r} twice; keep one")
    numbers = {int(match[1]): match[2] for match in numbered} if own else {}
    if own and len(numbers) < len(names):
        raise BadInput(f"data.lists: {file} has a number twice; give each name its own")
    return Names(names, file, numbers)


def _parsed(line: str, where: str, split: str) -> Line:
    match = LINE.fullmatch(line)
    if not match:
        raise BadInput(f"data.lists: {where} names no picture: {line.strip()[:60]!r}; write path label")
    return Line(match["path"], match["rest"] or "", split, where)


def _label_and_location(line: Line, classes: Names) -> tuple[str, str]:
    """What a line says after its picture, as texts; no location is ""."""
    if line.rest in classes.names or line.rest.isdecimal():
        return line.rest, ""
    before, _, last = line.rest.replace("\t", " ").rpartition(" ")
    return before.strip(), last


def _named(line: Line, classes: Names | None, locations: Names) -> tuple[str | None, str | None]:
    """Label and location of a line; a missing label is the table's to refuse."""
    if not line.rest or classes is None:
        return line.rest or None, None
    said, last = _label_and_location(line, classes)
    label, location = classes.find(said), locations.find(last)
    if label is None:
        said = said or line.rest
        raise BadInput(f"data.lists: {line.where}: no class is {said!r}{did_you_mean(said, classes.names[:50])}")
    if last and location is None:
        raise BadInput(f"data.lists: {line.where}: no location is {last!r}{did_you_mean(last, locations.names)}")
    return label, location
