"""How much a column says of the class, and the class of it, before any picture is looked at."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.data.files import cell_text

_MOST_VALUES = 0.2  # of the pictures: a column with more values than that tells pictures apart, and everything by it
_NEARLY = 0.95


@dataclass(frozen=True)
class Association:
    """Shares of the pictures that are of the class most often met with their value, and have their class's usual value.

    `alone`: the first for a column that says nothing, the most frequent class's share.
    """

    class_by_value: float
    value_by_class: float
    alone: float

    def warning(self, column: str) -> str:
        """What is to be said of it before training, "" for nothing."""
        if self.class_by_value >= _NEARLY and self.alone < _NEARLY:
            return (
                f"{column} alone tells the class of {100 * self.class_by_value:.0f} % of the training pictures: "
                "a network that is given it need not look at them; is it known before the class is?"
            )
        if self.value_by_class >= _NEARLY:
            said = (
                "has one"
                if self.value_by_class == 1
                else f"has one in {100 * self.value_by_class:.0f} % of its pictures"
            )
            return (
                f"each class {said} {column}: it may have been read off the class, and then is a part of the answer, "
                "which nobody knows of a new picture; accuracy with it says little of what the network sees"
            )
        return ""


def association(cells: pd.Series, labels: np.ndarray) -> Association | None:
    """That of a column's cells (n,) with class codes (n,); None where too little is known, or all of it is alike."""
    texts = cells.map(cell_text).to_numpy()
    there = texts != ""
    values, codes = pd.factorize(texts[there])[0], labels[there]
    if not len(values) or not 1 < values.max() + 1 <= max(_MOST_VALUES * len(values), 2):
        return None
    pairs = pd.crosstab(values, codes).to_numpy()
    n = pairs.sum()
    return Association(
        float(pairs.max(1).sum() / n), float(pairs.max(0).sum() / n), float(pairs.sum(0).max() / n)
    )  # fmt: skip
