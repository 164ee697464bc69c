"""A served model without its networks: what its classes are, and what its answers promise. It needs no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pandas as pd

from pipeline.evaluation.depth import Tree
from pipeline.serving.calibration import Calibration
from pipeline.serving.known import Known
from pipeline.serving.only import called


@dataclass(frozen=True, kw_only=True)
class Described:
    """What answers are made with, once networks have spoken.

    `taxonomy` has a row a class, indexed by class name. Without `known` it cannot tell that a picture is of no class.
    """

    classes: tuple[str, ...]
    taxonomy: pd.DataFrame | None
    calibration: Calibration
    known: Known | None = None

    @cached_property
    def tree(self) -> Tree:
        """The taxa above its classes."""
        return Tree.of(self.classes, self.taxonomy)

    @cached_property
    def called(self) -> dict[str, list[int]]:
        """Its classes by what they and the taxa above them are called."""
        return called(self.classes, self.taxonomy)

    @cached_property
    def of_groups(self) -> Self | None:
        """The same, calibrated for the mean of several pictures' probabilities; None where val had too few such."""
        groups = self.calibration.groups
        return None if groups is None else replace(self, calibration=groups)

    @property
    def attributes(self) -> tuple[str, ...]:
        """What its networks read of a picture on the way to the class, and what may be set by hand."""
        return ()

    @property
    def looks_at_boxes(self) -> bool:
        """Whether a box in a picture makes a difference."""
        return False


def facts(plain: Mapping[str, Any], arrays: Path | bytes) -> dict[str, Any]:
    """The fields of `Described`, of a served model's own description; `arrays` are a file of what it knows of known
    pictures, or its bytes.
    """
    return {
        "classes": tuple(plain["classes"]),
        "taxonomy": None if plain["taxonomy"] is None else pd.DataFrame(**plain["taxonomy"]),
        "calibration": Calibration.from_dict(plain["calibration"]),
        "known": None if plain.get("known") is None else Known.read(arrays, plain["known"]),
    }
