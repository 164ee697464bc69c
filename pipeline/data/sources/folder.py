"""Folders of pictures: one folder a class, or train, val and test folders that hold those."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pipeline.data.checks import SPLIT_NAMES, OnUnreadable, check_class_names
from pipeline.data.table import SPLITS, PictureTable
from pipeline.errors import BadInput

# The last line are pictures that are not read: in the table all the same, so that they are named when met.
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff",
    ".gif", ".heic", ".heif", ".avif", ".jp2",
)  # fmt: skip


class Picture(NamedTuple):
    """A file found: where, relative to the root; what it shows; its split, if the set has any; its size."""

    path: str
    label: str
    split: str | None
    bytes: int


def read(
    *,
    name: str | None = None,
    root: str | os.PathLike[str] | None = None,
    on_unreadable: OnUnreadable = "raise",
) -> PictureTable:
    """The pictures under class folders, sorted by split, class and name; what is hidden does not count.

    Classes are the folders' names in code-point order. Raises `BadInput` for a folder that is missing or
    empty, for fewer than two classes, for a class without pictures.
    """
    folder = _existing(root)
    class_folders = _class_folders(folder)
    classes = sorted({path.name for path, _ in class_folders})
    _check_classes(folder, classes)
    check_class_names(classes, f"data.root: {folder}", on_unreadable)
    pictures = [
        Picture(os.path.relpath(file, folder), path.name, split, size)
        for path, split in class_folders
        for file, size in _pictures(path)
    ]
    _check_pictures(folder, pictures, classes)
    return PictureTable(name=name or folder.name, rows=_rows(pictures, classes), root=folder)


def _existing(root: str | os.PathLike[str] | None) -> Path:
    if root is None:
        raise BadInput("data.root: name the folder that holds one folder of pictures a class, as in data.root=~/photos")
    folder = Path(root).expanduser().absolute()
    if not folder.exists():
        raise BadInput(f"data.root: there is no folder {folder}; check its spelling")
    if not folder.is_dir():
        raise BadInput(f"data.root: {folder} is a file; name the folder that holds one folder a class")
    return folder


def _class_folders(root: Path) -> list[tuple[Path, str | None]]:
    """Each class folder with its split, in order."""
    folders = _subfolders(root)
    splits = {path: SPLIT_NAMES[path.name.lower()] for path in folders if path.name.lower() in SPLIT_NAMES}
    # A class may be called `train`: it then holds pictures, not folders.
    if not any(split == "train" and _subfolders(path) for path, split in splits.items()):
        return [(path, None) for path in folders]
    _check_split_folders(root, folders, splits)
    ordered = sorted(splits, key=lambda path: (SPLITS.index(splits[path]), path.name))
    return [(path, splits[folder]) for folder in ordered for path in _subfolders(folder)]


def _check_split_folders(root: Path, folders: list[Path], splits: dict[Path, str]) -> None:
    if len(set(splits.values())) < len(splits):
        twice = ", ".join(sorted(path.name for path in splits))
        raise BadInput(f"data.root: {root} holds two folders for one split ({twice}); keep one of them")
    for path in folders:
        if path not in splits and next(_pictures(path), None):
            raise BadInput(f"data.root: {path} holds pictures beside train/; move it into train/, or out of {root}")
        if path in splits and not _subfolders(path) and next(_pictures(path), None):
            raise BadInput(
                f"data.root: {path} holds pictures but no class folders; sort them by class, or move it away"
            )


def _check_classes(root: Path, classes: list[str]) -> None:
    wanted = "it should hold one folder of pictures for each class, at least two"
    if not classes and next(_pictures(root), None):
        raise BadInput(f"data.root: {root} holds pictures but no class folders; {wanted}")
    if not classes:
        raise BadInput(f"data.root: {root} is empty; {wanted}")
    if len(classes) == 1:
        raise BadInput(f"data.root: {root} has only one class, {classes[0]!r}; {wanted}")


def _check_pictures(root: Path, pictures: list[Picture], classes: list[str]) -> None:
    if not pictures:
        raise BadInput(f"data.root: no pictures under {root}; JPEG, PNG, WebP, BMP and TIFF are read")
    seen = {picture.label for picture in pictures}
    bare = [label for label in classes if label not in seen]
    if bare:
        others = f" (and {len(bare) - 1} more such folders)" if bare[1:] else ""
        raise BadInput(f"data.root: {root / bare[0]} holds no pictures{others}; add some, or move the folder away")


def _rows(pictures: list[Picture], classes: list[str]) -> pd.DataFrame:
    rows = pd.DataFrame(pictures, columns=list(Picture._fields))
    rows["path"] = rows["path"].astype("str")
    rows["label"] = pd.Categorical(rows["label"], categories=classes)
    rows["split"] = pd.Categorical(rows["split"], categories=SPLITS)
    return rows.astype({"bytes": "int64"})


def _subfolders(path: Path) -> list[Path]:
    return [Path(entry.path) for entry in _listed(path) if _is_folder(entry)]


def _pictures(folder: str | Path, above: tuple[tuple[int, int], ...] = ()) -> Iterator[tuple[str, int]]:
    """Path and size of each picture in a folder and those below; `above` are the folders on the way here."""
    state = Path(folder).stat()
    identity = (state.st_dev, state.st_ino)
    if identity in above:
        raise BadInput(f"data.root: {folder} is a link to a folder above it, a circle; remove the link")
    for entry in _listed(folder):
        if _is_folder(entry):
            yield from _pictures(entry.path, (*above, identity))
        elif entry.name.lower().endswith(SUFFIXES):
            yield entry.path, _size(entry)


def _listed(folder: str | Path) -> list[os.DirEntry[str]]:
    """What a folder shows, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            shown = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except PermissionError:
        raise BadInput(f"data.root: {folder} may not be read; give yourself the right to") from None
    for entry in shown:
        if not entry.name.isascii():
            _check_name(entry)
    return shown


def _check_name(entry: os.DirEntry[str]) -> None:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(entry.path).decode(errors="replace")
        raise BadInput(f"data.root: the name of {shown} is not valid UTF-8; rename it") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        raise BadInput(f"data.root: {entry.path} is a link to itself; remove it") from None


def _size(entry: os.DirEntry[str]) -> int:
    """Bytes; 0 for a link that points nowhere, which is named when it is read."""
    try:
        return entry.stat().st_size
    except OSError:
        return 0
