"""What is known by attributes, such as a red wing, of each class (shares of its pictures that show them, 0 to 1), or of
pictures themselves.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.common.wording import first_few
from pipeline.data.beside.files import OF_PICTURES, known_by, tell_some
from pipeline.data.files import cell_text, check_titles, column, existing, read_table
from pipeline.data.sources.cub200 import attribute_names, class_attributes
from pipeline.data.table import PictureTable

BY_CLASS, BY_PICTURE = "class", "picture"  # of CUB's own; anything else is a file
MEANT = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0, "": np.nan}
_PERCENT = 100

log = logging.getLogger(__name__)


def with_attributes(table: PictureTable, asked: str | None, source: str) -> PictureTable:
    """The set with what `data.attributes` asks for: CUB's own, of classes or pictures, or what a file says.

    The file has a column `class`, or `path` (file, stem, ...) of pictures, and one an attribute: yes or no, a share
    (0 to 1), or, throughout, percent; a blank is not known. Letter case of classes does not count. BadInput for a class
    that the set does not have.
    """
    if asked is None:
        return table
    if asked == BY_PICTURE and source == "cub200":
        own = table.rows.set_index("path")[attribute_names(Path(str(table.root)))]
        return replace(table, attributes=own.astype("float32"))
    if asked in (BY_CLASS, BY_PICTURE):
        if source != "cub200":
            raise BadInput(f"data.attributes={asked} is for data=cub200; name a CSV: class,attribute,...")
        return replace(table, attributes=class_attributes(str(table.root)) / _PERCENT)
    file = existing(asked, "data.attributes", "table with a row a class")
    given = read_table(file, "data.attributes")
    said = f"data.attributes: {file}"
    check_titles(
        [in_words(str(title).strip().casefold()) for title in given], said
    )  # they may be called so, in any case
    title = next((name for name in given if str(name).lower() in OF_PICTURES), None)
    if "class" not in given and title is not None:
        return replace(table, attributes=_of_pictures(given, str(title), table, said))
    names = column(given, "class", "data.attributes", file).map(cell_text)
    known = {name.casefold(): name for name in table.classes}
    for name in names:
        if name.casefold() not in known:
            raise BadInput(f"{said} has attributes of {name!r}, which is no class{did_you_mean(name, table.classes)}")
    own = names.map(lambda name: known[name.casefold()])
    if own.duplicated().any():
        raise BadInput(f"{said} names {own[own.duplicated()].iloc[0]!r} twice; keep one row a class")
    return replace(table, attributes=_shares(given.drop(columns="class").set_axis(pd.Index(own), axis=0), said))


def _of_pictures(given: pd.DataFrame, title: str, table: PictureTable, said: str) -> pd.DataFrame:
    """A row a picture of the set, by path; of those that the file does not name nothing is known."""
    named, whose = known_by(given[title].map(cell_text).replace("", None), table.rows["path"], table.root, said)
    if named.dropna().duplicated().any():
        again = named[named.duplicated()].iloc[0]
        raise BadInput(f"{said} names {again!r} twice; keep one row a picture")
    shares = _shares(given.drop(columns=title).set_axis(pd.Index(named), axis=0)[named.notna().to_numpy()], said)
    unnamed = ~pd.Series(whose).isin(named)
    strange = named[~named.isin(whose)]
    tell_some(said, {
        "pictures of which it says nothing": table.rows["path"][unnamed.to_numpy()],
        "rows of which there is no picture": strange,
    })  # fmt: skip
    return shares.reindex(whose).set_axis(pd.Index(table.rows["path"], name="path"), axis=0)


def by_picture(table: PictureTable, attributes: Sequence[str], paths: Sequence[str]) -> pd.DataFrame | None:
    """(pictures, attributes) of some pictures; None where attributes are known of classes alone."""
    if table.attributes is None or table.attributes.index.name != "path":
        return None
    return table.attributes.reindex(index=list(paths), columns=list(attributes))


def in_words(attribute: str) -> str:
    """An attribute's name as people read it: `has_bill_shape::dagger` is `bill shape: dagger`."""
    return attribute.removeprefix("has_").replace("::", ": ").replace("_", " ")


def called(attributes: Collection[str]) -> dict[str, int]:
    """Places of attributes by what they may be called, in small letters: their names, or these `in_words`."""
    places = {in_words(name).casefold(): place for place, name in enumerate(attributes)}
    return places | {name.casefold(): place for place, name in enumerate(attributes)}


def signatures(table: PictureTable) -> pd.DataFrame:
    """(classes, attributes) float32, in the table's order of classes; NaN where something is not known.

    Where attributes are known of pictures, those are the shares of a class's training pictures. Attributes that are the
    same of all classes say nothing: they are left out, and named. BadInput where a class has no row, or no attribute is
    left.
    """
    if table.attributes is None:
        raise BadInput("data.attributes: name a CSV, class,attribute,... (with data=cub200, class: its own)")
    table = replace(table, attributes=_of_classes(table))
    assert table.attributes is not None
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


def _of_classes(table: PictureTable) -> pd.DataFrame | None:
    train = table.rows.iloc[table.where("train")]
    own = by_picture(table, [] if table.attributes is None else list(table.attributes), train["path"].tolist())
    if own is None:
        return table.attributes
    return own.groupby(train["label"].to_numpy(), observed=False).mean().reindex(table.classes).astype("float32")


def _shares(cells: pd.DataFrame, said: str) -> pd.DataFrame:
    """Cells as shares. BadInput, which names class and attribute, for one that is none."""
    texts = cells.map(cell_text)
    words = texts.map(lambda text: MEANT.get(text.lower(), np.nan)).astype("float64")
    numbers = texts.apply(pd.to_numeric, errors="coerce").astype("float64")
    odd = (numbers.isna() & words.isna() & (texts != "")) | (numbers < 0) | (numbers > _PERCENT)
    if odd.to_numpy().any():
        row, place = np.argwhere(odd.to_numpy())[0]
        raise BadInput(
            f"{said}: {texts.columns[place]} of {texts.index[row]} is {texts.iat[row, place]!r}; it takes yes or no, a "
            "share from 0 to 1, or percent"
        )
    above = np.argwhere((numbers > 1).to_numpy())
    if len(above):
        row, place = above[0]
        log.info(
            "%s: numbers are read as percent, as %s of %s is %s",
            said, texts.columns[place], texts.index[row], texts.iat[row, place],
        )  # fmt: skip
    return words.fillna(numbers / _PERCENT if len(above) else numbers).astype("float32")
