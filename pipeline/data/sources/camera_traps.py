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
from pipeline.data.table import PictureTable, animals_apart

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
    if rows_of == "animals":
        found = found.iloc[np.argsort(pd.factorize(found["path"])[0], kind="stable")].reset_index(drop=True)
        found = animals_apart(found, found.groupby("path").cumcount() + 1)
    return trusted_table(
        found,
        name=name or given.stem,
        root=folder,
        source=source,
        on_unreadable=on_unreadable,
        classes=sorted(found["label"].unique()),
    )


def _tell(number: int, what: str, source: str) -> None:
    if number:
        log.warning("%s: %s %s left out", source, f"{number:,}", what)
