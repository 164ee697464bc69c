"""Caltech-UCSD Birds-200-2011 in its published layout (Wah et al. 2011, CNS-TR-2011-001), whole or in part."""

from pathlib import Path

import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.data.checks import OnUnreadable, trusted_table
from pipeline.data.files import existing, read_text
from pipeline.data.table import PictureTable

_BOX = ["box_x", "box_y", "box_width", "box_height"]


def read(
    *,
    name: str | None = None,
    root: str | None = None,
    attributes: bool = False,
    on_unreadable: OnUnreadable = "raise",
) -> PictureTable:
    """The birds under `root` in their published split: 1 is train's, 0 test's. Classes come by id, as named.

    Columns `box_x`, `box_y`, `box_width`, `box_height` (pixels) where `bounding_boxes.txt` is there;
    `attributes` adds a column an attribute: whether the picture was said to show it.
    """
    folder = existing(root, "data.root", "folder with images.txt and images/", folder=True)
    images = _listing(folder / "images.txt", ["path"])
    names = _listing(folder / "classes.txt", ["name"])["name"]
    labels = pd.to_numeric(_listing(folder / "image_class_labels.txt", ["label"])["label"], errors="coerce")
    trains = _listing(folder / "train_test_split.txt", ["train"])["train"]
    _check_ids(folder, images, names, labels, trains)
    listed = pd.DataFrame(
        {
            "path": "images/" + images["path"],
            "label": labels.reindex(images.index).map(names),
            "split": trains.reindex(images.index).map({"1": "train", "0": "test"}),
        }
    )
    if (folder / "bounding_boxes.txt").is_file():
        listed = listed.join(_listing(folder / "bounding_boxes.txt", _BOX).astype("float32"))
    if attributes:
        listed = listed.join(_picture_attributes(folder))
    return trusted_table(
        listed, name=name or folder.name, root=folder, source=f"data.root: {folder}",
        classes=names.sort_index().tolist(), on_unreadable=on_unreadable,
    )  # fmt: skip


def class_attributes(root: str | Path) -> pd.DataFrame:
    """(classes, 312): the share of a class's pictures, in percent, that show each attribute."""
    folder = existing(root, "data.root", "folder with images.txt and images/", folder=True)
    file = _existing(folder / "attributes" / "class_attribute_labels_continuous.txt")
    rows = [line.split() for line in read_text(file, "data.root").splitlines() if line.strip()]
    # One row a class of the whole set, whichever part of it is here.
    listing = folder / "classes.txt" if len(rows) == _lines(folder / "classes.txt") else folder / "classes_200.txt"
    names = _listing(listing, ["name"])["name"].sort_index()
    if len(names) != len(rows):
        raise BadInput(f"data.root: {file} has {len(rows)} rows for {len(names)} classes")
    return pd.DataFrame(rows, index=pd.Index(names), columns=attribute_names(folder)).astype("float32")


def _picture_attributes(folder: Path) -> pd.DataFrame:
    """(pictures, 312) bool, by picture id."""
    file = _existing(folder / "attributes" / "image_attribute_labels.txt")
    # A few published lines have a field too many; only the first three matter.
    said = pd.read_csv(
        file, sep=r"\s+", header=None, names=list(range(7)), usecols=[0, 1, 2], dtype="int32", engine="c"
    )
    wide = said.pivot_table(index=0, columns=1, values=2, aggfunc="last", fill_value=0).astype(bool)
    wide.index = wide.index.astype("int64")
    names = attribute_names(folder)
    return wide.reindex(columns=range(1, len(names) + 1), fill_value=False).set_axis(names, axis=1)


def attribute_names(folder: Path) -> list[str]:
    """The 312, in their order."""
    file = folder / "attributes" / "attributes.txt"
    # The published archive keeps this one beside the set's folder.
    other = folder.parent / "attributes.txt"
    return _listing(file if file.is_file() or not other.is_file() else other, ["name"])["name"].tolist()


def _listing(file: Path, columns: list[str]) -> pd.DataFrame:
    """Lines of `id value ...`, by id; the last value may hold spaces."""
    texts = read_text(_existing(file), "data.root").splitlines()
    rows = [line.split(None, len(columns)) for line in texts if line.strip()]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(columns) + 1 or not row[0].isdecimal():
            raise BadInput(f"data.root: line {number} of {file} is not: id {' '.join(columns)}")
    table = pd.DataFrame(rows, columns=["id", *columns])
    table.index = pd.Index(table.pop("id").astype("int64"))
    if not table.index.is_unique:
        raise BadInput(f"data.root: {file} has the id {table.index[table.index.duplicated()][0]} twice")
    return table.apply(lambda column: column.str.strip())


def _check_ids(folder: Path, images: pd.DataFrame, names: pd.Series, labels: pd.Series, trains: pd.Series) -> None:
    unknown = labels[~labels.isin(names.index)]
    if len(unknown):
        raise BadInput(f"data.root: {folder / 'classes.txt'} lacks the label of picture {unknown.index[0]}")
    for file, given in (("train_test_split.txt", trains), ("image_class_labels.txt", labels)):
        missing = images.index.difference(given.index)
        if len(missing):
            raise BadInput(f"data.root: {folder / file} says nothing of {len(missing)} pictures, such as {missing[0]}")
    odd = trains[~trains.isin(["0", "1"])]
    if len(odd):
        raise BadInput(
            f"data.root: {folder / 'train_test_split.txt'}: {odd.iloc[0]!r} is neither 1 (train) nor 0 (test)"
        )


def _lines(file: Path) -> int:
    return sum(1 for line in read_text(file, "data.root").splitlines() if line.strip())


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise BadInput(f"data.root: there is no {file}, which the published set has")
    return file
