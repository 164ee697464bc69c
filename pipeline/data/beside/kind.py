"""What is declared of an input beside the picture; whoever reads, trains, asks or serves walks over those declared."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch


class Kind(ABC):
    """An input beside the picture, as it was fitted to the training pictures: plain facts, which JSON can hold.

    Subclasses are frozen dataclasses: networks that want the same of a picture are given it once.
    """

    name: ClassVar[str]  # its field of `Inputs`, and its key under `data.`

    @classmethod
    @abstractmethod
    def fit(cls, asked: Sequence[str], rows: pd.DataFrame, train: np.ndarray) -> Self:
        """What `data.<name>` asks for, as the rows of a table have it, learned from those of `train` (k,) alone.

        BadInput for what no row can have meant.
        """

    @property
    @abstractmethod
    def columns(self) -> dict[str, Literal["string", "double"]]:
        """What it is read from: columns of a table, of `predict`'s file and of a request, with their types."""

    @property
    @abstractmethod
    def depth(self) -> int:
        """How many values are known of a row."""

    @property
    @abstractmethod
    def width(self) -> int:
        """How many numbers the head is given of it."""

    @abstractmethod
    def values(self, rows: pd.DataFrame) -> np.ndarray:
        """(n, depth) float32 of n rows, NaN where nothing is known: a column that is not there, a blank, a new name.

        BadInput, which names the row, for a cell that cannot be.
        """

    @abstractmethod
    def codes(self, values: torch.Tensor) -> torch.Tensor:
        """(n, depth) as above -> (n, width), all of it finite: what the head is given."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""

    @classmethod
    @abstractmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; KeyError or TypeError where something is missing or unknown."""
