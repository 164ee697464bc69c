"""Is an ensemble better than one network by more than chance? Asked of val, where promotion is decided."""

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array

from pipeline.evaluation.statistics import paired_tests_of
from pipeline.predictions.alignment import aligned
from pipeline.predictions.predictions import Predictions

LEVEL = 0.05
PERMUTATIONS = 2_000
_AT_ONCE = 50  # permutations, for the sake of memory


def _macro_f1(hits: np.ndarray, said: np.ndarray, shown: np.ndarray) -> np.ndarray:
    either = said + shown
    there = either > 0
    f1 = np.divide(2 * hits, either, where=there, out=np.zeros(there.shape))
    return np.asarray(f1.sum(axis=-1) / there.sum(axis=-1))


def _balanced_accuracy(hits: np.ndarray, _said: np.ndarray, shown: np.ndarray) -> np.ndarray:
    return np.asarray((hits[..., shown > 0] / shown[shown > 0]).mean(axis=-1))


# Of the counts (..., k) by class of right answers, of answers, and (k,) of pictures.
_OF_CLASSES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "macro_f1": _macro_f1, "balanced_accuracy": _balanced_accuracy,
}  # fmt: skip


def measured(measure: str) -> str:
    """The measure by which a gain is tested: that one where its answers can be swapped, else accuracy."""
    return measure if measure in (*_OF_CLASSES, "log_loss") else "accuracy"


def paired_gain(single: Predictions, ensemble: Predictions, measure: str = "accuracy") -> tuple[float, float]:
    """What an ensemble gains over one network on the same pictures, and the two-sided p of that.

    `measure` is one that `measured` gives; of `log_loss` a fall is the gain. Accuracy by McNemar's exact test (1947),
    the others by swapping the two's answers to each picture at random: where neither is better, that changes nothing.
    Fisher 1935, "The Design of Experiments". Raises BadInput where classes or pictures differ.
    """
    one, other = aligned({"the network": single, "the ensemble": ensemble}).values()
    if measure == "accuracy":
        (row,) = paired_tests_of({"one": one.correct, "other": other.correct}).to_dict("records")
        return -float(row["difference"]), float(row["p"])
    gap, chance = _gap(measure, one, other), np.random.default_rng(0)
    gain = float(gap(np.zeros((1, len(one)), bool))[0])
    swaps = (chance.random((_AT_ONCE, len(one))) < 0.5 for _ in range(PERMUTATIONS // _AT_ONCE))
    draws = np.concatenate([gap(some) for some in swaps])
    as_far = int((np.abs(draws) >= abs(gain) - 1e-12).sum())
    return gain, (1 + as_far) / (1 + PERMUTATIONS)


def _gap(measure: str, one: Predictions, other: Predictions) -> Callable[[np.ndarray], np.ndarray]:
    """How much the second is ahead of the first (m,) where their answers to some pictures are swapped (m, n)."""
    if measure == "log_loss":
        differences = other.true_log_probability - one.true_log_probability
        return lambda swaps: np.asarray(np.where(swaps, -differences, differences).mean(axis=1))
    classes, labels, of = len(one.classes), one.labels, _OF_CLASSES[measure]
    shown = np.bincount(labels, minlength=classes)
    hits, said = (
        [_counts(codes, labels == codes if right else None, classes) for codes in (one.predicted, other.predicted)]
        for right in (True, False)
    )

    def gap(swaps: np.ndarray) -> np.ndarray:
        # What swapping adds to the first's counts by class, and takes from the second's.
        more_hits, more = (swaps.astype(int) @ (theirs - mine) for mine, theirs in (hits, said))
        first = of(hits[0].sum(axis=0) + more_hits, said[0].sum(axis=0) + more, shown)
        return of(hits[1].sum(axis=0) - more_hits, said[1].sum(axis=0) - more, shown) - first

    return gap


def _counts(codes: np.ndarray, counted: np.ndarray | None, classes: int) -> csr_array:
    """(n, classes): a one for the class of each picture (n,) that is `counted`, or of all."""
    n = len(codes)
    return csr_array((np.ones(n, int) if counted is None else counted.astype(int), (np.arange(n), codes)), (n, classes))
