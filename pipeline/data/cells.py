"""Cells of a table that somebody wrote, as numbers; what is none is told with the picture that it is of."""

import re

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.data.files import cell_text

COMMA = r"-?\d+,\d+"  # how some spreadsheets write a number: others take it for thousands


def numbers(rows: pd.DataFrame, column: str, remedy: str) -> np.ndarray:
    """(n,) float64 of a column, NaN for blanks. BadInput, with the `remedy`, for a text that is no number."""
    found = pd.to_numeric(rows[column], errors="coerce").to_numpy(np.float64, copy=True)
    for row in np.flatnonzero(np.isnan(found) & rows[column].notna().to_numpy()).tolist():
        if cell_text(rows[column].iloc[row]):
            comma = re.fullmatch(COMMA, cell_text(rows[column].iloc[row]))
            raise odd_cell(rows, column, row, f"no number{': write it with a point' if comma else ''}; {remedy}")
    return found


def odd_cell(rows: pd.DataFrame, column: str, row: int, why: str) -> BadInput:
    """What is wrong with a cell, as an error to raise."""
    return BadInput(f"{whose(rows, row)}: {column} is {cell_text(rows[column].iloc[row])[:40]!r}, {why}")


def whose(rows: pd.DataFrame, row: int) -> str:
    """The picture that a row is of."""
    return str(rows["path"].iloc[row]) if "path" in rows else f"picture {row}"
