"""Prediction sets with a promised coverage: "one of these", right as often as promised.

Split conformal prediction: the scores of the true classes on val give one threshold, and a set holds every
class that scores no worse. Coverage is promised on average over pictures like those of val, not a class.
Adaptive sets (Romano, Sesia and Candès 2020, "Classification with Valid and Adaptive Coverage") with a price on long
ones (Angelopoulos et al. 2021, "Uncertainty Sets for Image Classifiers using Conformal Prediction").
A set always holds the likeliest class, as an answer has a label: where none scores well enough, a set of the
papers is empty. That adds to the coverage and takes nothing from the promise.
Written here because MAPIE, with which the tests agree, wants all k probabilities of every picture at once.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.special import softmax

from pipeline.common.errors import BadInput
from pipeline.predictions.predictions import Predictions

FORMAT_VERSION = 1


@dataclass(frozen=True)
class SetRule:
    """Which classes go into a picture's set: the likeliest, and those whose score is at most `threshold`.

    `coverage` is what was promised; `temperature` is applied before; `penalty` is the price of each class beyond
    `free_ranks`. It is what a served model keeps, as JSON.
    """

    coverage: float
    threshold: float
    temperature: float = 1.0
    penalty: float = 0.0
    free_ranks: int = 0
    method: str = "raps"  # the papers' name, for who reads the JSON

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with its `format_version`."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}

    @staticmethod
    def from_dict(stored: dict[str, Any]) -> "SetRule":
        """What `to_dict` gave; BadInput for a version this program does not know."""
        fields = dict(stored)
        if (version := fields.pop("format_version", None)) != FORMAT_VERSION:
            raise BadInput(f"prediction sets have format_version {version}, not {FORMAT_VERSION}: calibrate again")
        return SetRule(**fields)

    def sets(self, predictions: Predictions) -> csr_array:
        """(n, k) sparse bool: the set of each picture, which holds at least its likeliest class.

        Sparse predictions: sets of at most `LARGEST` classes. A picture's chance number (see `_chance`) comes
        from its id, so that its set is the same whenever it is asked for.
        """
        predictions.check_usable()
        scaled = predictions.at_temperature(self.temperature)
        chance = _chance(predictions.ids)
        found = [self._members(*_ranked(scaled, rows), chance[rows], rows.start) for rows in predictions.blocks()]
        rows, columns = (np.concatenate(part) for part in zip(*found, strict=True))
        shape = (len(predictions), len(predictions.classes))
        return csr_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=shape)

    def choose(self, logits: np.ndarray, ids: Sequence[str]) -> list[np.ndarray]:
        """The sets of b pictures from all their (b, k) logits: class codes, likeliest first."""
        probabilities = softmax(np.asarray(logits, dtype=np.float64) / self.temperature, axis=1)
        order = np.argsort(-probabilities, axis=1, kind="stable")
        ranked = np.take_along_axis(probabilities, order, axis=1)
        rows, codes = self._members(order, ranked, _chance(np.asarray(ids)), 0)
        return [codes[rows == row] for row in range(len(order))]

    def _members(
        self, columns: np.ndarray, probabilities: np.ndarray, chance: np.ndarray, first_row: int
    ) -> tuple[np.ndarray, np.ndarray]:
        scores = _scores(probabilities, chance, self.penalty, self.free_ranks)
        inside = scores <= self.threshold
        inside[:, 0] = True  # what is evaluated is what is served: never an empty set
        rows, places = np.nonzero(inside)
        return rows + first_row, columns[rows, places]


def calibrate(
    val: Predictions,
    *,
    coverage: float = 0.9,
    temperature: float = 1.0,
    penalty: float = 0.01,
    free_ranks: int = 5,
) -> SetRule:
    """The rule whose sets hold the true class with probability `coverage` on pictures like those of `val`.

    The threshold is the ceil((n + 1) coverage)-th smallest score of n val pictures. Raises BadInput where val
    has too few pictures for the promise, or where the classes that sparse predictions keep cannot hold it.
    """
    val.check_usable("val predictions")
    if not 0 < coverage < 1:
        raise BadInput(f"a coverage of {coverage} cannot be promised: choose one between 0 and 1, such as 0.9")
    place = int(np.ceil(round((len(val) + 1) * coverage, 9)))
    if place > len(val):
        least = int(np.ceil(round(coverage / (1 - coverage), 9)))
        raise BadInput(f"{len(val)} val pictures cannot promise {coverage:.0%} coverage: it takes at least {least}")
    scores = true_scores(val.at_temperature(temperature), penalty, free_ranks)
    threshold = float(np.partition(scores, place - 1)[place - 1])
    if np.isinf(threshold):
        raise BadInput(
            f"the {val.logits.shape[1] - 1} likeliest classes, which were kept, hold the true one for only "
            f"{np.isfinite(scores).mean():.0%} of val: promise less than {coverage:.0%}"
        )
    return SetRule(coverage, threshold, temperature, penalty, free_ranks)


def true_scores(predictions: Predictions, penalty: float, free_ranks: int) -> np.ndarray:
    """(n,) scores of the true classes, small where the network found them likely.

    Sparse: infinite where the true class is not among the `LARGEST`, as no set would hold it.
    """
    chance = _chance(predictions.ids)
    found = np.full(len(predictions), np.inf)
    for rows in predictions.blocks():
        columns, probabilities = _ranked(predictions, rows)
        scores = _scores(probabilities, chance[rows], penalty, free_ranks)
        held = columns == predictions.labels[rows, None]
        found[rows][held.any(axis=1)] = scores[held]
    return found


def set_summary(sets: csr_array, predictions: Predictions) -> dict[str, float]:
    """How sets did: `coverage`, `mean_size`, `median_size`, and the share `single` of those with one class."""
    sizes = np.diff(sets.indptr)
    return {
        "coverage": float(covered(sets, predictions).mean()),
        "mean_size": float(sizes.mean()),
        "median_size": float(np.median(sizes)),
        "single": float((sizes == 1).mean()),
    }


def covered(sets: csr_array, predictions: Predictions) -> np.ndarray:
    """(n,) bool: whether a picture's set holds its true class."""
    owners = np.repeat(np.arange(len(predictions)), np.diff(sets.indptr))
    hit = np.zeros(len(predictions), dtype=bool)
    hit[owners[sets.indices == predictions.labels[owners]]] = True
    return hit


def _ranked(predictions: Predictions, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """(b, w) class codes, likeliest first, and their probabilities; sparse: without the last column.

    The last may be there only for being the true class, which a set must not know.
    """
    probabilities = np.exp(predictions.logits[rows] - predictions.log_normaliser[rows, None])
    if predictions.columns is not None:
        return predictions.columns[rows, :-1], probabilities[:, :-1]
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return order, np.take_along_axis(probabilities, order, axis=1)


def _scores(probabilities: np.ndarray, chance: np.ndarray, penalty: float, free_ranks: int) -> np.ndarray:
    """(b, w) scores of classes that stand likeliest first, given a chance number a picture."""
    before = np.cumsum(probabilities, axis=1) - probabilities
    ranks = np.arange(1, probabilities.shape[1] + 1)
    return before + chance[:, None] * probabilities + penalty * np.maximum(ranks - free_ranks, 0)


def _chance(ids: np.ndarray) -> np.ndarray:
    """(n,) numbers in [0, 1), as even as chance but fixed by each picture's id.

    They decide how much of a class's own probability counts, without which sets would be too large.
    """
    digests = b"".join(hashlib.blake2b(str(one).encode(), digest_size=8).digest() for one in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.float64) / 2.0**64
