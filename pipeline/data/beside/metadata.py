"""Columns of the table beside the picture: where it was taken, when, how deep, by whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.data.beside.encodings import (
    ENCODINGS,
    Category,
    Day,
    Encoding,
    Number,
    Place,
    looks_like_date,
)
from pipeline.data.beside.kind import Kind
from pipeline.data.cells import COMMA
from pipeline.data.files import cell_text

_LATITUDES = ("latitude", "lat", "decimallatitude")
_LONGITUDES = ("longitude", "lon", "lng", "long", "decimallongitude")
_KINDS = (Category.kind, Number.kind, Day.kind)  # that may be said: depth:number
_MOST_NAMES = 2_000  # each is a column beside a thousand features
_MOST = 0.5  # of the texts that are of a kind: the others are slips


@dataclass(frozen=True)
class Metadata(Kind):
    """Columns as `encodings` have them: names, numbers, dates and places, told apart by what their cells hold.

    A column's kind can be said: `depth:number`, `site:category`, `found:date`. A column of latitudes and one of
    longitudes are one place.
    """

    name: ClassVar[str] = "metadata"
    encodings: tuple[Encoding, ...]

    @classmethod
    def fit(cls, asked: Sequence[str], rows: pd.DataFrame, train: np.ndarray) -> Self:
        asked = with_both(asked)
        said = dict(_apart(one, rows) for one in asked)
        for column, kind in said.items():
            if column not in rows or column == "path":
                known = [name for name in rows if name != "path"]
                remedy = did_you_mean(column, known) or "; the set has none: data.beside=FILE brings some"
                raise BadInput(f"data.metadata: no column is called {column!r}{remedy}")
            if kind and kind not in _KINDS:
                raise BadInput(f"data.metadata: {column}:{kind} is no kind of column{did_you_mean(kind, _KINDS)}")
            if rows[column].iloc[train].map(cell_text).eq("").all():
                raise BadInput(f"data.metadata: {column} is blank for all training pictures; leave it out")
        latitude, longitude = (_named(said, names) for names in (_LATITUDES, _LONGITUDES))
        if bool(latitude) != bool(longitude):
            raise BadInput(
                f"data.metadata: {latitude or longitude} alone is no place: name latitude and longitude, or say "
                f"{latitude or longitude}:number"
            )
        found: list[Encoding] = []
        for column, kind in said.items():
            if column == latitude:
                found.append(Place.fit(latitude, str(longitude), rows))
            elif column != longitude:
                found.append(_fitted(column, kind or _kind_of(rows[column], column), rows, train))
        return cls(tuple(found))

    @property
    def columns(self) -> dict[str, Literal["string", "double"]]:
        return {column: one.type for one in self.encodings for column in one.columns}

    @property
    def depth(self) -> int:
        return sum(one.depth for one in self.encodings)

    @property
    def width(self) -> int:
        return sum(one.width for one in self.encodings)

    def values(self, rows: pd.DataFrame) -> np.ndarray:
        return np.concatenate([one.values(rows) for one in self.encodings], axis=1)

    def codes(self, values: torch.Tensor) -> torch.Tensor:
        parts = torch.split(values, [one.depth for one in self.encodings], dim=1)
        return torch.cat([one.codes(part) for one, part in zip(self.encodings, parts, strict=True)], dim=1)

    def to_dict(self) -> dict[str, Any]:
        return {"encodings": [one.to_dict() for one in self.encodings]}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        made = []
        for one in plain["encodings"]:
            facts = dict(one)
            made.append(ENCODINGS[facts.pop("kind")].from_dict(facts))
        return cls(tuple(made))


def with_both(asked: Sequence[str]) -> list[str]:
    """What is asked for, `exif.place` as the two columns that it is."""
    every = [(f"{one[:-5]}latitude", f"{one[:-5]}longitude") if one.endswith(".place") else (one,) for one in asked]
    return [column for columns in every for column in columns]


def coarsened(rows: pd.DataFrame, degrees: float) -> pd.DataFrame:
    """The rows with latitudes and longitudes moved to the middle of a square of so many degrees; 0: as they are."""
    columns = [one for one in rows if str(one).lower().rpartition(".")[2] in (*_LATITUDES, *_LONGITUDES)]
    if not degrees or not columns:
        return rows
    exact = rows[columns].apply(pd.to_numeric, errors="coerce")
    return rows.assign(**((np.floor(exact / degrees) + 0.5) * degrees))


def _apart(asked: str, rows: pd.DataFrame) -> tuple[str, str]:
    """A column and the kind that is said of it, "" for none; a column's title may have a colon itself."""
    column, colon, kind = asked.rpartition(":")
    return (asked.strip(), "") if not colon or asked.strip() in rows else (column.strip(), kind.strip())


def _named(said: dict[str, str], names: Sequence[str]) -> str:
    """The column that bears one of the names, also as `exif.latitude`, and whose kind was not said."""
    return next((one for one, kind in said.items() if not kind and one.lower().rpartition(".")[2] in names), "")


def _kind_of(cells: pd.Series, column: str) -> str:
    """What most of a column's texts are. BadInput where it is dates in a form that can be read in two ways."""
    texts = [text for text in map(cell_text, cells.unique()) if text]
    if sum(map(looks_like_date, texts)) > _MOST * len(texts):
        return Day.kind
    if pd.to_numeric(pd.Series(texts), errors="coerce").notna().mean() > _MOST:
        return Number.kind
    if pd.Series(texts).str.fullmatch(COMMA).mean() > _MOST:
        raise BadInput(
            f"data.metadata: {column} has numbers such as {texts[0]}: write them with a point, or say {column}:category"
        )
    if pd.Series(texts).str.fullmatch(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}").mean() > _MOST:
        raise BadInput(
            f"data.metadata: {column} has dates such as {texts[0]}, of which day and month cannot be told: write them "
            f"as 2021-05-31, or say {column}:category"
        )
    return Category.kind


def _fitted(column: str, kind: str, rows: pd.DataFrame, train: np.ndarray) -> Encoding:
    """An encoding learned from train; all cells are looked at, so that nothing fails later."""
    some = rows.iloc[train]
    if kind == Category.kind:
        made = Category.fit(column, some)
        if len(made.names) > _MOST * max(len(some), 2):
            raise BadInput(
                f"data.metadata: {column} has {len(made.names):,} names for {len(some):,} training pictures, such as "
                f"{made.names[0]!r}: it tells pictures apart, not classes; leave it out"
            )
        if len(made.names) > _MOST_NAMES:
            raise BadInput(
                f"data.metadata: {column} has {len(made.names):,} names, such as {made.names[0]!r}, each of which "
                f"would be a column: at most {_MOST_NAMES:,}; group them, or name latitude and longitude"
            )
        return made
    if kind == Day.kind:
        return Day.fit(column, rows)
    try:
        Number.fit(column, rows)
    except BadInput as error:
        raise BadInput(f"{error}; or say data.metadata=[{column}:category]") from None
    return Number.fit(column, some)
