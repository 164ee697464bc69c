"""How columns beside the picture become numbers that a head is given: names, numbers, days of the year, places.

Each says of a cell that cannot be what it is and what would be right; a blank one is unknown. Codes end with a column
of their own for what is unknown, which is 1 there and where all others are 0.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from math import pi
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import one_hot

from pipeline.data.cells import numbers, odd_cell
from pipeline.data.files import cell_text

ISO_DATE = r"\d{4}[-/:.]\d{1,2}(?:[-/:.]\d{1,2})?(?:[T ].*)?"
_FARTHEST = 5.0  # standard deviations: a number beyond those of train says no more than that it is large
_LARGEST = 1e30  # whose squares can be added up
_YEAR = 365.25  # days
_REMEDY = "correct it, or leave it blank where it is not known"


@dataclass(frozen=True)
class Encoding(ABC):
    """Cells of some columns of n rows -> (n, depth) values, NaN where unknown -> (n, width) codes."""

    kind: ClassVar[str]
    type: ClassVar[Literal["string", "double"]] = "double"

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Those that it reads."""

    @property
    def depth(self) -> int:
        """How many values it makes of a row."""
        return len(self.columns)

    @property
    @abstractmethod
    def width(self) -> int:
        """How many numbers the head is given, that for `unknown` among them."""

    @abstractmethod
    def values(self, rows: pd.DataFrame) -> np.ndarray:
        """(n, depth) float32, NaN where unknown; BadInput for a cell that cannot be."""

    @abstractmethod
    def known_codes(self, values: torch.Tensor) -> torch.Tensor:
        """(n, depth) that are known -> (n, width - 1)."""

    def codes(self, values: torch.Tensor) -> torch.Tensor:
        """(n, depth), NaN where unknown -> (n, width)."""
        unknown = values.isnan().any(1, keepdim=True)
        known = self.known_codes(values.nan_to_num(0.0)).masked_fill(unknown, 0.0)
        return torch.cat([known, unknown.float()], dim=1)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"kind": self.kind} | {
            name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()})


@dataclass(frozen=True)
class Category(Encoding):
    """One of the `names` that train has: a column each (one-hot). What train never had is unknown."""

    kind = "category"
    type = "string"
    column: str
    names: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def width(self) -> int:
        return len(self.names) + 1

    @classmethod
    def fit(cls, column: str, rows: pd.DataFrame) -> Self:
        """Of all names that the rows have."""
        return cls(column, tuple(sorted({text for text in map(cell_text, rows[column].unique()) if text})))

    def values(self, rows: pd.DataFrame) -> np.ndarray:
        places = {name: float(place) for place, name in enumerate(self.names)}
        return _column(_cells(rows, self.column, lambda text: places.get(text, np.nan)))

    def known_codes(self, values: torch.Tensor) -> torch.Tensor:
        return one_hot(values[:, 0].long(), len(self.names)).float()


@dataclass(frozen=True)
class Number(Encoding):
    """A number, standardised by `mean` and `scale` of train."""

    kind = "number"
    column: str
    mean: float
    scale: float

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def width(self) -> int:
        return 2

    @classmethod
    def fit(cls, column: str, rows: pd.DataFrame) -> Self:
        """Of those that the rows have."""
        found = _numbers(rows, column)
        known = found[~np.isnan(found)]
        return cls(column, float(known.mean()), float(known.std()) or 1.0) if len(known) else cls(column, 0.0, 1.0)

    def values(self, rows: pd.DataFrame) -> np.ndarray:
        return _column((_numbers(rows, self.column) - self.mean) / self.scale)

    def known_codes(self, values: torch.Tensor) -> torch.Tensor:
        return values.clamp(-_FARTHEST, _FARTHEST)


@dataclass(frozen=True)
class Day(Encoding):
    """A date as a point on the year's circle, so that December is next to January."""

    kind = "date"
    type = "string"
    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def width(self) -> int:
        return 3

    @classmethod
    def fit(cls, column: str, rows: pd.DataFrame) -> Self:
        """There is nothing to learn; the cells are looked at."""
        _cells(rows, column, _share_of_year)
        return cls(column)

    def values(self, rows: pd.DataFrame) -> np.ndarray:
        return _column(_cells(rows, self.column, _share_of_year))

    def known_codes(self, values: torch.Tensor) -> torch.Tensor:
        turn = 2 * pi * values
        return torch.cat([turn.cos(), turn.sin()], dim=1)


@dataclass(frozen=True)
class Place(Encoding):
    """Latitude and longitude (degrees) as a point on the sphere, so that the date line and the poles are no edges."""

    kind = "place"
    latitude: str
    longitude: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.latitude, self.longitude)

    @property
    def width(self) -> int:
        return 4

    @classmethod
    def fit(cls, latitude: str, longitude: str, rows: pd.DataFrame) -> Self:
        """There is nothing to learn; the cells are looked at."""
        made = cls(latitude, longitude)
        made.values(rows)
        return made

    def values(self, rows: pd.DataFrame) -> np.ndarray:
        both = [_numbers(rows, self.latitude, most=90), _numbers(rows, self.longitude, most=180)]
        return np.stack(both, axis=1).astype(np.float32)

    def known_codes(self, values: torch.Tensor) -> torch.Tensor:
        north, east = torch.deg2rad(values).unbind(1)
        return torch.stack([north.cos() * east.cos(), north.cos() * east.sin(), north.sin()], dim=1)


ENCODINGS: dict[str, type[Encoding]] = {one.kind: one for one in (Category, Number, Day, Place)}


def _column(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)[:, None]


def _cells(rows: pd.DataFrame, column: str, read: Callable[[str], float]) -> np.ndarray:
    """(n,) float64 of a column, NaN for blanks, or all where there is no such column.

    `read` raises ValueError, which says what is wrong with a text.
    """
    if column not in rows:
        return np.full(len(rows), np.nan)
    which, distinct = pd.factorize(rows[column], use_na_sentinel=False)
    found = np.full(len(distinct), np.nan)
    for place, cell in enumerate(distinct):
        text = cell_text(cell)
        try:
            found[place] = read(text) if text else np.nan
        except ValueError as error:
            raise odd_cell(rows, column, int(np.flatnonzero(which == place)[0]), f"{error}; {_REMEDY}") from None
    return found[which]


def _numbers(rows: pd.DataFrame, column: str, most: float = _LARGEST) -> np.ndarray:
    """(n,) float64 of a column, NaN for blanks, or all where there is no such column; at most so large, either way."""
    if column not in rows:
        return np.full(len(rows), np.nan)
    found = numbers(rows, column, _REMEDY)
    for row in np.flatnonzero(np.abs(found) > most).tolist():
        why = "too large for a number" if most == _LARGEST else f"not within -{most:g} and {most:g} degrees"
        raise odd_cell(rows, column, row, f"{why}; {_REMEDY}")
    return found


def _share_of_year(text: str) -> float:
    if not re.fullmatch(ISO_DATE, text):
        raise ValueError("no date such as 2021-05-31")
    year, month, day = (*map(int, re.findall(r"\d+", text[:10])[:3]), 15)[:3]  # of a month its middle
    try:
        return (date(year, month, day).timetuple().tm_yday - 1) / _YEAR
    except ValueError:
        raise ValueError("a day that no year has") from None


def looks_like_date(text: str) -> bool:
    """Whether a text is meant as one."""
    return re.fullmatch(ISO_DATE, text) is not None
