"""Tar files of pictures (WebDataset's form: KEY.jpg with KEY.cls or KEY.json beside it), or of folders of classes."""

import re

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.common.errors import BadInput
from pipeline.data.checks import SPLIT_NAMES, OnUnreadable, trusted_table
from pipeline.data.files import existing
from pipeline.data.members import HEADER, OFFSET, TAR
from pipeline.data.shards import look_through, tars_in
from pipeline.data.table import SPLITS, PictureTable


def read(
    *,
    name: str | None = None,
    root: str | None = None,
    label_field: str = "label",
    on_unreadable: OnUnreadable = "raise",
) -> PictureTable:
    """The pictures in the tars right in `root`, in the order in which their folder would be read.

    A class is what stands beside a picture, or, where nothing stands beside any, the name of the folder that it lies
    in. A split is the word train, val or test in the tar's name, or the first folder in it: `train/fox/1.jpg`. Raises
    `BadInput` for tars that will not do, and for what `trusted_table` refuses.
    """
    folder = existing(root, "data.root", "folder of tar files", folder=True)
    tars = tars_in(folder)
    if not tars:
        raise BadInput(f"data.root: {folder} holds no .tar; pictures in folders are read with data=folder")
    held = look_through(folder, tars, label_field)
    if not len(held):
        raise BadInput(f"data.root: the tars of {folder} hold no pictures; JPEG, PNG, WebP, BMP and TIFF are read")
    whole = {column: held[column].to_pandas() for column in ("folder", TAR)}
    below = {name: _split_apart(name) for name in whole["folder"].cat.categories}
    splits = whole["folder"].map({name: split for name, (split, _) in below.items()}).astype("str")
    splits = splits.where(splits.notna(), whole[TAR].map({tar: _split_of(tar) for tar in tars}).astype("str"))
    beside = held["label"].null_count < len(held)
    listed = pd.DataFrame({
        "path": pd.Series(pd.array(held["path"], dtype="str")),
        "label": held["label"].to_pandas() if beside else _of_folders(whole["folder"], below, str(folder)),
        "split": splits, TAR: whole[TAR],
        **{column: held[column].to_numpy() for column in (OFFSET, "bytes", HEADER)},
    })  # fmt: skip
    ranks = pa.array(splits.map({split: rank for rank, split in enumerate(SPLITS)}).fillna(0).to_numpy())
    keys = pa.table({"split": ranks, "path": pc.replace_substring(held["path"], "/", "\0")})
    order = pc.sort_indices(keys, [("split", "ascending"), ("path", "ascending")]).to_numpy()
    return trusted_table(
        listed.iloc[order], name=name or folder.name, root=folder, source=f"data.root: {folder}",
        classes=None if beside else sorted(listed["label"].dropna().unique()), on_unreadable=on_unreadable,
    )  # fmt: skip


def _of_folders(folders: pd.Series, below: dict[str, tuple[str | None, list[str]]], root: str) -> pd.Series:
    """(n,) the folder that each picture lies in; BadInput where that lies in others."""
    for name, (_, parts) in below.items():
        if len(parts) > 1:
            raise BadInput(
                f"data.root: the tars of {root} hold folders in folders ({name}), of which any may be the class: put "
                "KEY.cls beside KEY.jpg, or name them in a table: data=table data.file=photos.csv data.root=..."
            )
    return folders.map({name: parts[0] if parts else None for name, (_, parts) in below.items()})


def _split_apart(folder: str) -> tuple[str | None, list[str]]:
    """`train/fox` as its split and the folders below that."""
    parts = [part for part in folder.split("/") if part]
    split = SPLIT_NAMES.get(parts[0].lower()) if parts else None
    return (split, parts[1:]) if split else (None, parts)


def _split_of(tar: str) -> str | None:
    """The split that a tar's name speaks of, as imagenet-train-0001.tar does."""
    said = {SPLIT_NAMES[word] for word in re.split("[^a-z]+", tar.lower()) if word in SPLIT_NAMES}
    return said.pop() if len(said) == 1 else None
