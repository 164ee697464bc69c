"""How far reasons agree with what is known: the graph of an explanation beside the graph of knowledge.

After X-NeSyL (Diaz-Rodriguez et al. 2022, arXiv:2104.11914). A class is joined to attributes: in the graph of knowledge
to those that it shows; in that of an explanation to those that are seen in the picture, more than usual, and speak for
it by their SHAP value. How many edges have to be added or taken away is their edit distance.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

_DRAWS, _LEVEL = 1000, 95  # percent


@dataclass(frozen=True)
class Agreement:
    """Of n explanations, each of the class that was answered.

    `share` (n,): of the reasons, by size, those that agree with what is known: an attribute that the class has speaks
    for it where it is seen and against it where not, one that it lacks the other way round. `edits` (n,): the edit
    distance of the graphs. `explained`, `known` (n,): how many edges each has.
    """

    share: np.ndarray
    edits: np.ndarray
    explained: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, added: np.ndarray, concepts: np.ndarray, knowledge: np.ndarray) -> "Agreement":
        """SHAP values, attributes (0: as usual) and what is known (1, -1; 0: nothing), each (n, attributes)."""
        size = np.abs(added) * (knowledge != 0)
        agrees = (added * concepts * knowledge) > 0
        explained = (added > 0) & (concepts > 0) & (knowledge != 0)
        has = knowledge > 0
        return cls(
            (size * agrees).sum(1) / np.maximum(size.sum(1), 1e-12), (explained != has).sum(1), explained.sum(1),
            has.sum(1),
        )  # fmt: skip

    def table(self, answered: np.ndarray, classes: list[str]) -> pd.DataFrame:
        """A row a class that was answered, the least agreement first."""
        rows = pd.DataFrame({
            "class": pd.Categorical.from_codes(answered, classes).astype(str), "pictures": 1, "agreement": self.share,
            "edit_distance": self.edits, "edges_explained": self.explained, "edges_known": self.known,
        })  # fmt: skip
        made = rows.groupby("class").agg({"pictures": "sum"} | dict.fromkeys(rows.columns[2:], "mean"))
        return made.reset_index().sort_values("agreement", kind="stable")


def mean_by_class(values: np.ndarray, classes: np.ndarray) -> tuple[float, float, float]:
    """The mean of values (n,) and its 95 % interval, classes (n,) drawn anew: pictures of one are alike."""
    _, place = np.unique(classes, return_inverse=True)
    sums, counts = np.bincount(place, values), np.bincount(place)
    drawn = np.random.default_rng(0).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), _DRAWS)
    low, high = np.percentile(drawn @ sums / (drawn @ counts), [(100 - _LEVEL) / 2, (100 + _LEVEL) / 2])
    return float(values.mean()), float(low), float(high)
