"""Pictures of which nothing is known but where they lie."""

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.common.paths import check_utf8, expanded
from pipeline.data.files import SUFFIXES
from pipeline.data.table import PictureTable


def find_pictures(images: str, key: str = "images") -> list[Path]:
    """The picture, or all pictures of a folder and below, by name. BadInput, which names `key`, where there is none."""
    if not images.strip():
        raise BadInput(f"{key}= names no picture: give a picture's or a folder's path, {key}=. for this folder")
    where = expanded(images, key)
    if where.is_file():
        return [where]
    if not where.is_dir():
        raise BadInput(f"{key}={images}: there is no such file or folder")
    paths = (path for path in where.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir())
    # Links to nowhere and pipes too: they are told of as skipped. What is hidden is not: a Mac leaves `._IMG.jpg`
    # beside IMG.jpg on other disks, a name with a picture's ending and no picture.
    found = sorted(path for path in paths if not any(part.startswith(".") for part in path.relative_to(where).parts))
    for path in found:
        check_utf8(path, f"{key}={images}")
    if not found and any(where.glob("*.tar")):
        raise BadInput(f"{key}={images}: its pictures are in tars; unpack them, or ask with evaluate data=shards")
    if not found:
        raise BadInput(f"{key}={images}: no picture in it ({', '.join(sorted(SUFFIXES))})")
    return found


def unlabelled_table(pictures: Sequence[Path]) -> PictureTable:
    """The pictures in their order, of no class and in no split."""
    root = Path(os.path.commonpath([path.absolute().parent for path in pictures]))
    paths = pd.Series([str(path.absolute().relative_to(root)) for path in pictures], dtype="str")
    unknown = pd.Categorical([None] * len(pictures))
    return PictureTable("pictures", pd.DataFrame({"path": paths, "label": unknown, "split": unknown}), root=root)
