"""Pictures of one animal: those that a column calls by one name, or that a camera took right after each other."""

import logging
import re
from pathlib import PurePath

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.common.wording import counted
from pipeline.data.beside.exif import Taken, taken
from pipeline.data.files import cell_text
from pipeline.data.table import PictureTable

log = logging.getLogger(__name__)
_BURSTS = re.compile(r"exif:(\d+)s?")


def with_groups(table: PictureTable, how: str, key: str) -> PictureTable:
    """The table with a column `how`: the name of each picture's group, None for one that is alone.

    `how` is a column's name, or `exif:60s` for bursts: no more than 60 seconds between a picture and the next by one
    camera. BadInput, which names `key`, where it is neither.
    """
    found = _BURSTS.fullmatch(how)
    if found is None:
        if how not in table.further:
            if how.startswith("exif:"):
                raise BadInput(f"{key}={how}: bursts are told by how long a pause may be, as in {key}=exif:60s")
            known = did_you_mean(how, table.further) or "; it has no further columns"
            raise BadInput(f"{key}={how}: {table.name} has no such column{known}")
        return table.with_rows(table.rows.assign(**{how: table.rows[how].map(lambda cell: cell_text(cell) or None)}))
    if table.in_memory:
        raise BadInput(f"{key}={how}: the pictures of {table.name} are no files, which a camera could have dated")
    notes = taken(table.sources(np.arange(len(table.rows))))
    names = bursts(table.files.tolist(), notes, int(found[1]))
    if undated := sum(note.time is None for note in notes):
        log.info("%s=%s: %s without a date, each by itself", key, how, counted(undated, "picture"))
    return table.with_rows(table.rows.assign(**{how: names}))


def bursts(files: list[str], notes: list[Taken], seconds: int) -> pd.Series:
    """(n,) the name of each picture's burst, which is that of its first picture; None where there is no date.

    Pictures are of one camera by its number, else by their folder and its model.
    """
    folders = [str(PurePath(file).parent) for file in files]
    cameras = [note.body or f"{folder}\0{note.model}" for folder, note in zip(folders, notes, strict=True)]
    rows = pd.DataFrame({"file": files, "camera": cameras, "time": pd.to_datetime([note.time for note in notes])})
    dated = rows.dropna(subset=["time"]).sort_values(["camera", "time", "file"], kind="stable")
    begins = (dated["camera"] != dated["camera"].shift()) | (dated["time"].diff().dt.total_seconds() > seconds)
    first = dated["file"].where(begins).ffill()
    return first.reindex(rows.index).astype(object).where(rows["time"].notna(), None)
