"""Folders of pictures: one folder a class, or train, val and test folders that hold those.

Classes may lie deeper, as in `region/species/*.jpg`. Where that is as likely as one folder a class, nobody but the
owner can tell, and `data.label_depth` is asked for.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.common.paths import check_utf8
from pipeline.common.wording import counted, first_few
from pipeline.data.checks import SPLIT_NAMES, OnUnreadable, check_class_names
from pipeline.data.files import SUFFIXES, existing
from pipeline.data.table import SPLITS, PictureTable

_SHOWN = 3
_MOST_DEPTHS = 4  # that a message counts classes for

log = logging.getLogger(__name__)


class Picture(NamedTuple):
    """A file found: where, relative to the root; the folders it lies in, those of splits left out; its split; its size.

    `folders` has at least one, from the root (or the split's folder) down.
    """

    path: str
    folders: tuple[str, ...]
    split: str | None
    bytes: int


def read(
    *,
    name: str | None = None,
    root: str | os.PathLike[str] | None = None,
    label_depth: int | None = None,
    on_unreadable: OnUnreadable = "raise",
) -> PictureTable:
    """The pictures under class folders, sorted by split, folder and name; what is hidden does not count.

    Classes are the names of the folders `label_depth` levels below the root (below train, val and test, where there
    are those), in code-point order; a name that comes in several folders is one class. What lies deeper belongs to
    the folder's class; the folders above become the columns `folder_1`, `folder_2`, ... None takes the first level,
    but stops where most of its folders hold nothing but folders. Raises `BadInput` for that, for a folder that is
    missing or empty, for fewer than two classes, for a class without pictures (with `on_unreadable="skip"` that is
    no class, and among the `empty_folders`).
    """
    what = "folder that holds one folder of pictures a class"
    folder = existing(root if root is None else os.fspath(root), "data.root", what, folder=True)
    first_level = _first_level(folder)
    _check_any(folder, [path for path, _ in first_level])
    pictures = [
        Picture(os.path.relpath(file, folder), folders, split, size)
        for path, split in first_level
        for file, size, folders in _pictures(path)
    ]
    depth = label_depth or _likely_depth(folder, first_level, pictures)
    _check_links({folder, *(path.parent for path, _ in first_level)}, on_unreadable)
    pictures, unnameable = _nameable(folder, first_level, pictures, on_unreadable)
    named = sorted({path.name for path in _at_depth([path for path, _ in first_level], depth) if _is_utf8(path)})
    seen = {picture.folders[depth - 1] for picture in pictures if len(picture.folders) >= depth}
    empty = tuple(label for label in named if label not in seen)
    skips = on_unreadable == "skip" and bool(seen)
    classes = sorted(seen) if skips else named
    _check_classes(folder, classes, pictures, depth)
    check_class_names(classes, f"data.root: {folder}", on_unreadable)
    _check_pictures(folder, pictures, () if skips else empty, depth)
    if empty:
        log.warning("warning: folders without a picture: %s", first_few(empty))
    return PictureTable(
        name=name or folder.name, rows=_rows(pictures, classes, depth), root=folder, unlisted=_tell_beside(folder),
        empty_folders=empty, skipped=unnameable,
    )  # fmt: skip


def _check_links(holding: set[Path], on_unreadable: OnUnreadable) -> None:
    """BadInput (`skip`: a warning) for a link among the class folders that leads nowhere: a disk not mounted, say."""
    for entry in (entry for folder in sorted(holding) for entry in _listed(folder)):
        if entry.is_symlink() and not _is_picture(entry) and not Path(entry).exists():
            said = f"data.root: the link {entry.path} leads nowhere"
            if on_unreadable == "raise":
                raise BadInput(f"{said}; mend or remove it, or leave it out with data.on_unreadable=skip")
            log.warning("warning: %s and is left out", said)


def _nameable(
    root: Path, folders: list[tuple[Path, str | None]], pictures: list[Picture], on_unreadable: OnUnreadable
) -> tuple[list[Picture], dict[str, str]]:
    """The pictures whose path is UTF-8, and the others with the reason; BadInput unless those are to be skipped."""
    odd = [picture.path for picture in pictures if not _is_utf8(picture.path)]
    if on_unreadable == "raise":
        for path in [*(path for path, _ in folders), *(root / path for path in odd)]:
            check_utf8(path, "data.root")
    shown = {os.fsencode(path).decode(errors="replace"): "has a name that is not valid UTF-8" for path in odd}
    if odd:
        said = counted(len(odd), "picture")
        log.warning("warning: %s left out for a name that is not valid UTF-8: %s", said, next(iter(shown)))
    return [picture for picture in pictures if _is_utf8(picture.path)], shown


def _is_utf8(path: str | Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _first_level(root: Path) -> list[tuple[Path, str | None]]:
    """Each folder below the root, or below its split folders, with its split, in order."""
    folders = _subfolders(root)
    splits = {path: SPLIT_NAMES[path.name.lower()] for path in folders if path.name.lower() in SPLIT_NAMES}
    # A class may be called `train`: it then holds pictures, not folders.
    if not any(split == "train" and _subfolders(path) for path, split in splits.items()):
        return [(path, None) for path in folders]
    _check_split_folders(root, folders, splits)
    ordered = sorted(splits, key=lambda path: (SPLITS.index(splits[path]), path.name))
    return [(path, splits[folder]) for folder in ordered for path in _subfolders(folder)]


def _at_depth(folders: list[Path], depth: int) -> list[Path]:
    """The folders so many levels down, `folders` being the first."""
    for _ in range(depth - 1):
        folders = [below for path in folders for below in _subfolders(path)]
    return folders


def _likely_depth(root: Path, first_level: list[tuple[Path, str | None]], pictures: list[Picture]) -> int:
    """1, with a word where there are folders below it. BadInput where the classes may as well lie deeper."""
    if all(len(picture.folders) == 1 for picture in pictures):
        return 1
    names = {path.name for path, _ in first_level}
    holding = {picture.folders[0] for picture in pictures if len(picture.folders) == 1}
    said = _readings(pictures)
    if 2 * len(holding) < len(names) and not any(split for _, split in first_level):
        raise BadInput(
            f"data.root: the folders of {root} hold folders, so classes may be those of several depths: "
            f"{said}; choose one of them, or say what each is, as in data.from_path='{{region}}/{{label}}/{{}}'"
        )
    log.warning("warning: %s has folders below its class folders: data.label_depth=1 is taken of %s", root, said)
    return 1


def _readings(pictures: list[Picture]) -> str:
    """What the classes would be at each depth that has pictures."""
    deepest = min(max(len(picture.folders) for picture in pictures), _MOST_DEPTHS)
    said = []
    for depth in range(1, deepest + 1):
        names = sorted({picture.folders[depth - 1] for picture in pictures if len(picture.folders) >= depth})
        shallow = sum(len(picture.folders) < depth for picture in pictures)
        without = f", {shallow:,} pictures lie above" if shallow else ""
        classes = f"{len(names):,} {'classes' if names[1:] else 'class'}"
        said.append(f"data.label_depth={depth} ({classes}: {first_few(names, _SHOWN)}{without})")
    return " or ".join(said)


def _tell_beside(root: Path) -> int:
    """How many pictures lie in the root itself, which are of no class: said."""
    beside = [entry.name for entry in _listed(root) if _is_picture(entry) and not _is_folder(entry)]
    if beside:
        log.warning(
            "warning: pictures right in %s are of no class and left out: %d (%s)",
            root, len(beside), first_few(beside, _SHOWN),
        )  # fmt: skip
    return len(beside)


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


def _check_any(root: Path, folders: list[Path]) -> None:
    wanted = "it should hold one folder of pictures for each class, at least two"
    if not folders and next(_pictures(root), None):
        raise BadInput(
            f"data.root: {root} holds pictures but no class folders; {wanted}, or their names should say what they "
            "show, as in data.from_path='{label}-{}'"
        )
    if not folders:
        raise BadInput(f"data.root: {root} is empty; {wanted}")


def _check_classes(root: Path, classes: list[str], pictures: list[Picture], depth: int) -> None:
    if not classes:
        raise BadInput(f"data.label_depth: {root} has no folders {depth} levels down; choose a smaller one")
    above = [picture.path for picture in pictures if len(picture.folders) < depth]
    if above:
        raise BadInput(
            f"data.label_depth={depth}: {len(above):,} pictures of {root} lie in no folder so deep, such as "
            f"{above[0]}; move them into one, or choose a smaller depth"
        )
    if len(classes) == 1:
        raise BadInput(
            f"data.root: {root} has only one class, {classes[0]!r}; it should hold one folder of pictures for each "
            "class, at least two"
        )


def _check_pictures(root: Path, pictures: list[Picture], empty: Sequence[str], depth: int) -> None:
    if not pictures:
        raise BadInput(f"data.root: no pictures under {root}; JPEG, PNG, WebP, BMP and TIFF are read")
    if empty:
        others = f" (and {len(empty) - 1} more such folders)" if empty[1:] else ""
        where = root / empty[0] if depth == 1 else f"{root}: the folder {empty[0]}"
        raise BadInput(f"data.root: {where} holds no pictures{others}; add some, or move the folder away")


def _rows(pictures: list[Picture], classes: list[str], depth: int) -> pd.DataFrame:
    columns = {
        "path": pd.Series([picture.path for picture in pictures], dtype="str"),
        "label": pd.Categorical([picture.folders[depth - 1] for picture in pictures], categories=classes),
        "split": pd.Categorical([picture.split for picture in pictures], categories=SPLITS),
        "bytes": pd.Series([picture.bytes for picture in pictures], dtype="int64"),
    }
    above = {f"folder_{level + 1}": [picture.folders[level] for picture in pictures] for level in range(depth - 1)}
    return pd.DataFrame(columns | above)


def _subfolders(path: Path) -> list[Path]:
    return [Path(entry.path) for entry in _listed(path) if _is_folder(entry)]


def _pictures(
    folder: str | Path, above: tuple[tuple[int, int], ...] = (), names: tuple[str, ...] = ()
) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Of each picture in a folder and those below: path, size, the folders from this one down.

    `above` are the folders on the way here, `names` what they are called.
    """
    state = Path(folder).stat()
    identity = (state.st_dev, state.st_ino)
    if identity in above:
        raise BadInput(f"data.root: {folder} is a link to a folder above it, a circle; remove the link")
    names = (*names, Path(folder).name)
    for entry in _listed(folder):
        if _is_folder(entry):
            yield from _pictures(entry.path, (*above, identity), names)
        elif _is_picture(entry):
            yield entry.path, _size(entry), names


def _is_picture(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(SUFFIXES)


def _listed(folder: str | Path) -> list[os.DirEntry[str]]:
    """What a folder shows, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except PermissionError:
        raise BadInput(f"data.root: {folder} may not be read; give yourself the right to") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _size(entry: os.DirEntry[str]) -> int:
    """Bytes; 0 for a link that points nowhere or to itself, which training refuses and explore shows."""
    try:
        return entry.stat().st_size
    except OSError:
        return 0
