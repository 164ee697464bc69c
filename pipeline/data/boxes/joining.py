"""Whose boxes are whose: a table of pictures gets a row an animal."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.common.wording import first_few
from pipeline.data.beside.files import known_by, tell_some
from pipeline.data.boxes.columns import boxes_of
from pipeline.data.boxes.crop import COLUMNS
from pipeline.data.boxes.published import NOTHING, read_detections
from pipeline.data.table import PictureTable, animals_apart

FOUND = ("category", "confidence")  # columns of what the detector said, named for that in the table
_SHOWN = 3
log = logging.getLogger(__name__)


def with_boxes(table: PictureTable, file: str, confidence: float, key: str = "data.boxes") -> PictureTable:
    """The table with a row an animal that the detector is so sure of; a second one of a picture is `PATH#2`.

    A picture in which there is none, or of which the file says nothing, keeps its row without a box, told apart by the
    column `box_category`: `blank`, `person`, ..., or missing. BadInput where the file is none, or of other pictures.
    """
    found = read_detections(file, key).sure(confidence).table
    files = found["file"].cat.categories.to_series()
    named, names = known_by(files, table.rows["path"], table.root, f"{key}={file}")
    places = pd.Index(names).get_indexer(pd.Index(named))
    strangers = files[places < 0].tolist()
    if strangers:
        log.warning("%s=%s: %s of its pictures are not among these: %s", key, file, f"{len(strangers):,}",
                    first_few(strangers, _SHOWN))  # fmt: skip
    found = found.assign(place=places[found["file"].cat.codes])
    found = found[found["place"] >= 0]
    boxes = boxes_of(found.rename(columns={"file": "path"}), "shares", lambda _: [], unit_key="")
    found[list(COLUMNS)] = boxes
    animal = (found["category"] == "animal").to_numpy()
    others = found[~animal & ~found["place"].isin(found["place"][animal])]
    # A picture without an animal is what it shows else, people before nothing.
    others = others.assign(blank=others["category"] == NOTHING[0]).sort_values("blank", kind="stable")
    others = others.drop_duplicates("place").assign(**dict.fromkeys(COLUMNS, np.nan))
    silent = np.setdiff1d(np.arange(len(table.rows)), found["place"])
    joined = pd.concat([found[animal], others, pd.DataFrame({"place": silent})])
    joined = joined.sort_values("place", kind="stable")
    paths = table.rows["path"]
    tell_some(
        f"{key}={file}",
        {
            "pictures without an animal": paths.iloc[others["place"].to_numpy()],
            "pictures of which it says nothing": paths.iloc[silent],
        },
    )
    made = table.take(joined["place"].to_numpy())
    facts = {f"box_{name}": joined[name].to_numpy() for name in FOUND} | {
        name: joined[name].to_numpy() for name in COLUMNS
    }
    rows = made.rows.drop(columns=[name for name in facts if name in made.rows])
    return made.with_rows(animals_apart(rows.assign(**facts), joined.groupby("place").cumcount().to_numpy() + 1))


def looked_at(
    table: PictureTable,
    unit: Literal["pixels", "shares"],
    columns: Sequence[str] = COLUMNS,
    unit_key: str = "data.box_unit",
) -> PictureTable:
    """The table with its boxes from its columns, checked. BadInput as `boxes_of` says."""
    return replace(table, boxes=boxes_of(table.rows, unit, table.sources, columns=columns, unit_key=unit_key))
