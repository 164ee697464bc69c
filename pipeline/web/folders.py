"""Folders that may be looked into, by names that are no paths: `photos/moths` is `moths` in the folder `photos`."""

import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.common.errors import BadInput
from pipeline.data.files import SUFFIXES

_MOST_LOOKED_AT = 20_000  # files and folders, so that a page comes at once
_MOST_LISTED = 500
_SAMPLES = 5
TABLES = (".csv", ".tsv", ".parquet", ".json")


class Outside(BadInput):
    """A name that is none of a file or folder that may be looked at."""

    status = 404

    def __init__(self, name: str) -> None:
        super().__init__(f"{name[:200]!r}: there is nothing of that name in the folders that the page was opened with")


def inside(name: str, folders: Mapping[str, Path]) -> Path:
    """The path that a name means. Raises Outside for one that is not there, or leads elsewhere: by `..`, by a link."""
    first, *rest = name.split("/")
    root = folders.get(first)
    if root is None or any(part in ("", ".", "..") or "\0" in part or os.sep in part for part in rest):
        raise Outside(name)
    try:
        path = root.joinpath(*rest).resolve(strict=True)
        path.relative_to(root.resolve())
        name.encode()
    except (OSError, ValueError, RuntimeError):
        raise Outside(name) from None
    return path


@dataclass(frozen=True)
class Look:
    """What is seen in a folder at a glance: names of what is in it, and of pictures how many, where, how deep.

    `levels` counts pictures by how many folders lie between this one and them; of the commonest there are `samples`,
    the parts of paths from this folder down. `whole` is false where there was too much to see all.
    """

    folders: list[str]
    tables: list[str]
    pictures: int = 0
    levels: Counter[int] = field(default_factory=Counter)
    samples: list[tuple[str, ...]] = field(default_factory=list)
    source: str = "folder"
    whole: bool = True

    @property
    def depth(self) -> int:
        """How many folders mostly lie between this one and its pictures."""
        return self.levels.most_common(1)[0][0] if self.levels else 0


def look(folder: Path, root: Path) -> Look:
    """See what lies in a folder of the named folder `root`; what is hidden, or leads elsewhere, does not count."""
    here = [entry for entry in _entries(folder) if _stays(entry, root)]
    tables = [entry.name for entry in here if entry.name.lower().endswith(TABLES) and entry.is_file()]
    names = {entry.name for entry in here}
    levels, first = Counter[int](), dict[tuple[str, ...], tuple[str, ...]]()
    seen, whole = _below(folder)
    for parts in seen:
        if parts[-1].lower().endswith(SUFFIXES):
            levels[len(parts) - 1] += 1
            first.setdefault(parts[:-1], parts)
    depth = levels.most_common(1)[0][0] if levels else 0
    samples = [parts for folders, parts in sorted(first.items()) if len(folders) == depth]
    return Look(
        [entry.name for entry in here if entry.is_dir()][:_MOST_LISTED], tables[:_MOST_LISTED], levels.total(), levels,
        samples[:: max(1, len(samples) // _SAMPLES)][:_SAMPLES], _source(names), whole,
    )  # fmt: skip


def files(folders: Mapping[str, Path], endings: tuple[str, ...]) -> list[str]:
    """Names of the files that end so, of those that are near enough to be found at once."""
    return [
        "/".join((name, *parts))
        for name, root in folders.items()
        for parts in _below(root)[0]
        if parts[-1].lower().endswith(endings) and _leads_inside("/".join((name, *parts)), folders)
    ][:_MOST_LISTED]


def _leads_inside(name: str, folders: Mapping[str, Path]) -> bool:
    with suppress(Outside):
        inside(name, folders)
        return True
    return False


def _source(names: set[str]) -> str:
    """The answer to `data=` that a folder's files speak for."""
    if {"images.txt", "image_class_labels.txt", "images"} <= names:
        return "cub200"
    if "train.txt" in names and "classes.txt" in names:
        return "lists"
    return "folder"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """By name; of a folder that cannot be read, nothing."""
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if _is_shown(entry.name)), key=lambda entry: entry.name)
    except OSError:
        return []


def _is_shown(name: str) -> bool:
    """Not what is hidden, nor what cannot be written on a page: old disks have names in other encodings."""
    return not name.startswith(".") and name.encode(errors="replace").decode() == name


def _stays(entry: os.DirEntry[str], root: Path) -> bool:
    try:
        return not entry.is_symlink() or Path(entry.path).resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        return False


def _below(folder: Path) -> tuple[list[tuple[str, ...]], bool]:
    """The parts of the paths of files below a folder, those near it first, and whether these are all.

    Links to folders are not followed.
    """
    found, left, waiting = list[tuple[str, ...]](), _MOST_LOOKED_AT, [(folder, tuple[str, ...]())]
    for path, parts in waiting:
        for entry in _entries(path):
            if not left:
                return found, False
            left -= 1
            if entry.is_dir(follow_symlinks=False):
                waiting.append((Path(entry.path), (*parts, entry.name)))
            else:
                found.append((*parts, entry.name))
    return found, True
