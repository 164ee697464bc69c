"""Is an ensemble better than one network by more than chance? Asked of val, where promotion is decided."""

from collections.abc import Callable
from functools import partial

import numpy as np
from sklearn.metrics import f1_score, recall_score

from pipeline.evaluation.statistics import paired_tests_of
from pipeline.predictions.alignment import aligned
from pipeline.predictions.predictions import Predictions

LEVEL = 0.05
PERMUTATIONS = 2_000
_OF_CLASSES: dict[str, Callable[..., float]] = {"macro_f1": f1_score, "balanced_accuracy": recall_score}


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
    chance = np.random.default_rng(0)
    swaps = (chance.random(len(one)) < 0.5 for _ in range(PERMUTATIONS))
    if measure == "log_loss":
        differences = other.true_log_probability - one.true_log_probability
        gain = float(differences.mean())
        draws = np.array([np.where(swap, -differences, differences).mean() for swap in swaps])
    else:
        of = partial(_OF_CLASSES[measure], average="macro", zero_division=0)

        def gap(first: np.ndarray, second: np.ndarray) -> float:
            return float(of(one.labels, second) - of(one.labels, first))

        mine, theirs = one.predicted, other.predicted
        gain = gap(mine, theirs)
        draws = np.array([gap(np.where(swap, theirs, mine), np.where(swap, mine, theirs)) for swap in swaps])
    as_far = int((np.abs(draws) >= abs(gain) - 1e-12).sum())
    return gain, (1 + as_far) / (1 + PERMUTATIONS)
