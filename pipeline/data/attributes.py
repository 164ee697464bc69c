"""What is known of each class by attributes, such as a red wing: shares of its pictures that show them, 0 to 1."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.common.wording import first_few
from pipeline.data.files import cell_text, check_titles, column, existing, read_table
from pipeline.data.sources.cub200 import class_attributes
from pipeline.data.table import PictureTable

BY_CLASS, BY_PICTURE = "class", "picture"  # of CUB's own; anything else is a file
MEANT = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0, "": np.nan}
_PERCENT = 100

log = logging.getLogger(__name__)


def with_attributes(table: PictureTable, asked: str | None, source: str) -> PictureTable:
    """The set with what `data.attributes` asks for: CUB's own table of classes, or that of a file.

    The file has a column `class`, and one an attribute: yes or no, a share (0 to 1), or, throughout, percent; a blank
    is not known. Letter case of classes does not count. BadInput for a class that the set does not have.
    """
    if asked is None or (asked == BY_PICTURE and source == "cub200"):
        return table
    if asked in (BY_CLASS, BY_PICTURE):
        if source != "cub200":
            raise BadInput(f"data.attributes={asked} is for data=cub200; name a CSV: class,attribute,...")
        return replace(table, attributes=class_attributes(str(table.root)) / _PERCENT)
    file = existing(asked, "data.attributes", "table with a row a class")
    given = read_table(file, "data.attributes")
    said = f"data.attributes: {file}"
    check_titles([str(title) for title in given], said)
    names = column(given, "class", "data.attributes", file).map(cell_text)
    known = {name.casefold(): name for name in table.classes}
    for name in names:
        if name.casefold() not in known:
            raise BadInput(f"{said} has attributes of {name!r}, which is no class{did_you_mean(name, table.classes)}")
    own = names.map(lambda name: known[name.casefold()])
    if own.duplicated().any():
        raise BadInput(f"{said} names {own[own.duplicated()].iloc[0]!r} twice; keep one row a class")
    return replace(table, attributes=_shares(given.drop(columns="class").set_axis(pd.Index(own), axis=0), said))


def in_words(attribute: str) -> str:
    """An attribute's name as people read it: `has_bill_shape::dagger` is `bill shape: dagger`."""
    return attribute.removeprefix("has_").replace("::", ": ").replace("_", " ")


def signatures(table: PictureTable) -> pd.DataFrame:
    """(classes, attributes) float32, in the table's order of classes; NaN where something is not known.

    Attributes that are the same of all classes say nothing: they are left out, and named. BadInput where a class has
    no row, or no attribute is left.
    """
    if table.attributes is None:
        raise BadInput("data.attributes: name a CSV, class,attribute,... (with data=cub200, class: its own)")
    lacking = [name for name in table.classes if name not in table.attributes.index]
    if lacking:
        raise BadInput(
            f"data.attributes: no row for {first_few(lacking, 3)}; add one, with blanks where nothing is known"
        )
    found = table.attributes.loc[table.classes]
    same = [name for name in found if found[name].nunique() < 2]
    if same:
        log.warning(
            "warning: data.attributes: %d of %d attributes are the same of all classes, and left out: %s",
            len(same), found.shape[1], first_few(same, 3),
        )  # fmt: skip
    if len(same) == found.shape[1]:
        raise BadInput("data.attributes: no attribute tells any two classes apart; name some that do")
    return found.drop(columns=same)


def _shares(cells: pd.DataFrame, said: str) -> pd.DataFrame:
    """Cells as shares. BadInput, which names class and attribute, for one that is none."""
    texts = cells.map(cell_text)
    numbers = texts.map(lambda text: MEANT.get(text.lower(), text)).apply(pd.to_numeric, errors="coerce")
    odd = (numbers.isna() & (texts != "")) | (numbers < 0) | (numbers > _PERCENT)
    if odd.to_numpy().any():
        row, place = np.argwhere(odd.to_numpy())[0]
        raise BadInput(
            f"{said}: {texts.columns[place]} of {texts.index[row]} is {texts.iat[row, place]!r}; it takes yes or no, a "
            "share from 0 to 1, or percent"
        )
    percent = bool((numbers > 1).to_numpy().any())
    return (numbers / _PERCENT if percent else numbers).astype("float32")
