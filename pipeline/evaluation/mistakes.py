"""Which pictures are worth a look: what was taken for what, and how sure the network was of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.confusion import counts
from pipeline.predictions.predictions import Predictions


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that are taken for each other: places in the predictions, the surest of each kind first.

    `one_as_other` and `other_as_one` are the mistakes; `ones` and `others` are pictures of both that were recognised.
    """

    one: int
    other: int
    one_as_other: np.ndarray
    other_as_one: np.ndarray
    ones: np.ndarray
    others: np.ndarray

    @property
    def mistakes(self) -> int:
        """How many, both ways."""
        return len(self.one_as_other) + len(self.other_as_one)


def confident_errors(predictions: Predictions) -> np.ndarray:
    """Places of all wrong answers, the surest first: wrong labels stand here, and what the network never saw."""
    return _sorted(predictions, ~predictions.correct, -predictions.confidence)


def doubtful_hits(predictions: Predictions) -> np.ndarray:
    """Places of all right answers, the least sure first."""
    return _sorted(predictions, predictions.correct, predictions.confidence)


def disagreements(members: Sequence[Predictions]) -> np.ndarray:
    """Places of pictures that networks do not answer alike, those first of which they are surest in the mean.

    The members' pictures are the same and in the same order.
    """
    answers = np.stack([one.predicted for one in members])
    sure = np.mean([one.confidence for one in members], axis=0)
    return _sorted(members[0], (answers != answers[0]).any(axis=0), -sure)


def worst_of_class(predictions: Predictions, each: int) -> dict[int, np.ndarray]:
    """By class code, the places of up to `each` mistakes of which the network was surest; hardest classes first.

    Classes without a mistake are left out; of classes with equal shares of mistakes the first comes first.
    """
    wrong = confident_errors(predictions)
    labels = predictions.labels[wrong]
    size = len(predictions.classes)
    shares = np.bincount(labels, minlength=size) / np.maximum(np.bincount(predictions.labels, minlength=size), 1)
    order = np.lexsort((np.arange(size), -shares))
    return {int(code): wrong[labels == code][:each] for code in order if shares[code]}


def confused_pairs(predictions: Predictions, most: int) -> list[ConfusedPair]:
    """The pairs of classes with the most mistakes between them, both ways together; at most so many."""
    matrix = counts(predictions)
    both = (matrix + matrix.T).tocoo()
    upper = (both.row < both.col) & (both.data > 0)
    row, column, many = both.row[upper], both.col[upper], both.data[upper]
    order = np.lexsort((column, row, -many))[:most]
    wrong, right = confident_errors(predictions), doubtful_hits(predictions)[::-1]
    labels, predicted = predictions.labels, predictions.predicted

    def taken(true: int, answer: int) -> np.ndarray:
        return wrong[(labels[wrong] == true) & (predicted[wrong] == answer)]

    return [
        ConfusedPair(one, other, taken(one, other), taken(other, one), right[labels[right] == one],
                     right[labels[right] == other])
        for one, other in zip(row[order].tolist(), column[order].tolist(), strict=True)
    ]  # fmt: skip


def _sorted(predictions: Predictions, among: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Places of some pictures, by a figure; of equals the first."""
    places = np.flatnonzero(among)
    return places[np.argsort(by[places], kind="stable")]
