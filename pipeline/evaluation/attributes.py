"""How well attributes are read of pictures: the area under the ROC curve, for each and on average."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

_DRAWS, _LEVEL = 200, 95  # percent


@dataclass(frozen=True)
class MeanAuc:
    """A mean over attributes with its interval at 95 %."""

    value: float
    low: float
    high: float
    attributes: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] ({self.attributes} attributes)"


def attribute_auc(
    scores: np.ndarray, shares: np.ndarray, labels: np.ndarray, counts: np.ndarray | None = None
) -> np.ndarray:
    """(k, draws) AUC of k attributes, of scores (n, k) and what the classes (classes, k) of the labels (n,) show.

    A class shows an attribute from a share of a half up; where that is not known its pictures are left out. NaN where
    the pictures left do not have both. `counts` (classes, draws) says how often each class is drawn, once each if None.
    """
    drawn = np.ones((len(shares), 1)) if counts is None else counts
    found = np.full((scores.shape[1], drawn.shape[1]), np.nan)
    for place in range(scores.shape[1]):
        share = shares[labels, place]
        some = np.flatnonzero(~np.isnan(share))
        order = some[np.argsort(scores[some, place], kind="stable")]
        shown = (share[order] >= 0.5)[:, None]
        weights = drawn[labels[order]]
        below = np.cumsum(weights * ~shown, axis=0)
        pairs = (weights * shown).sum(0) * below[-1:].sum(0)
        won = (weights * shown * below).sum(0)
        found[place] = np.divide(won, pairs, out=found[place], where=pairs > 0)
    return found


def mean_auc(scores: np.ndarray, shares: np.ndarray, labels: np.ndarray) -> MeanAuc | None:
    """The mean over attributes that the pictures both have and lack; its interval by drawing classes anew.

    None where there is no such attribute.
    """
    known = attribute_auc(scores, shares, labels)[:, 0]
    both = ~np.isnan(known)
    counts = np.random.default_rng(0).multinomial(len(shares), np.full(len(shares), 1 / len(shares)), _DRAWS).T
    if not both.any():
        return None
    drawn = attribute_auc(scores[:, both], shares[:, both], labels, counts)
    drawn = drawn[:, ~np.isnan(drawn).all(axis=0)]  # of few classes, some draws hold none that differ
    low, high = np.percentile(np.nanmean(drawn, axis=0), [(100 - _LEVEL) / 2, (100 + _LEVEL) / 2])
    return MeanAuc(float(known[both].mean()), float(low), float(high), int(both.sum()))


def attribute_table(names: list[str], scores: np.ndarray, shares: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """A row an attribute: its AUC (blank where it has none), how many pictures show it, how many do not."""
    of_picture = shares[labels]
    return pd.DataFrame({
        "attribute": names, "auc": attribute_auc(scores, shares, labels)[:, 0],
        "shown": (of_picture >= 0.5).sum(0), "not_shown": (of_picture < 0.5).sum(0),
    }).sort_values("auc", ascending=False, kind="stable")  # fmt: skip
