"""Labels from files of camera traps: Camtrap DP, COCO Camera Traps, or MegaDetector's with a classifier's answers."""

import logging
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.data.boxes.camtrap_dp import PACKAGE, read_package
from pipeline.data.boxes.crop import COLUMNS
from pipeline.data.boxes.published import read_detections
from pipeline.data.checks import OnUnreadable, trusted_table
from pipeline.data.files import existing
from pipeline.data.table import PICTURE, SPLITS, PictureTable

_SAID = ("blank", "person", "vehicle")  # categories that are labels by themselves
log = logging.getLogger(__name__)


def read(
    *,
    name: str | None = None,
    root: str | None = None,
    file: str | None = None,
    rows_of: Literal["pictures", "animals"] = "pictures",
    on_unreadable: OnUnreadable = "raise",
) -> PictureTable:
    """The pictures that `file` (or a package's folder) has labels of, paths relative to `root` (default: its folder).

    A row a picture, without those that show several kinds; or (`rows_of="animals"`) a row an animal, with its box.
    What shows no animal is `blank`, `person` or `vehicle`; animals that nobody named are left out. All is counted.
    """
    given = Path(str(file)).expanduser()
    package = given.parent if given.name == PACKAGE else given
    if package.is_dir():
        found, folder = read_package(str(package), "data.file").table, package.absolute()
    else:
        found, folder = read_detections(str(file), "data.file").table, given.absolute().parent
    folder = folder if root is None else existing(root, "data.root", "folder of pictures", folder=True)
    source = f"data.file: {given}"
    label = found["label"].where(found["label"].notna(), found["category"].where(found["category"].isin(_SAID)))
    _tell(label.isna().sum(), "animals that nobody named are", source)
    found = found.assign(label=label, path=found["file"].astype("str"))[label.notna()]
    if rows_of == "pictures":
        kinds = found.groupby("path")["label"].transform("nunique")
        _tell(found["path"][kinds > 1].nunique(), "pictures that show several kinds are", source)
        found = found[kinds == 1].drop_duplicates("path").drop(columns=list(COLUMNS))
    if found.empty:
        raise BadInput(f"{source}: it has no label of any picture; name a file of a classifier's or people's answers")
    found = found.drop(columns=["file", "category", "confidence"]).reset_index(drop=True)
    table = trusted_table(
        found.drop_duplicates("path"), name=name or given.stem, root=folder, source=source,
        on_unreadable=on_unreadable, classes=sorted(found["label"].unique()),
    )  # fmt: skip
    return table if rows_of == "pictures" else _of_animals(table, found)


def _of_animals(table: PictureTable, found: pd.DataFrame) -> PictureTable:
    """A row an animal, of pictures that are there."""
    places = pd.Index(table.rows["path"]).get_indexer(pd.Index(found["path"]))
    found = found[places >= 0].assign(place=places[places >= 0]).sort_values("place", kind="stable")
    made = table.take(found["place"].to_numpy())
    number = found.groupby("place").cumcount().to_numpy()
    path = made.rows["path"]
    facts = {column: found[column].to_numpy() for column in COLUMNS}
    rows = made.rows.assign(
        path=path.where(number == 0, path + "#" + (number + 1).astype(str)).astype("str"),
        label=pd.Categorical(found["label"], categories=sorted(found["label"].unique())),
        split=pd.Categorical([None] * len(found), categories=SPLITS), **facts,
    )  # fmt: skip
    return made.with_rows(rows.assign(**{PICTURE: path}) if np.any(number > 0) else rows)


def _tell(number: int, what: str, source: str) -> None:
    if number:
        log.warning("%s: %s %s left out", source, f"{number:,}", what)
