"""How many of each class are among pictures: counted from answers, and corrected for what is taken for what.

Who counts answers counts a rare species too often, as many of the common ones are taken for it now and then.
Probabilities were learned where classes had other shares; expectation-maximisation (Saerens, Latinne and Decaestecker
2002, "Adjusting the Outputs of a Classifier to New a Priori Probabilities") finds the shares that the pictures tell.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse

LEAST = 1e-5  # of a probability that is kept
_STEPS, _CLOSE = 1000, 1e-7
DRAWS = 200
LEVEL = 0.95  # of intervals


def kept(probabilities: np.ndarray) -> sparse.csr_array:
    """Probabilities (n, k) without the least of them."""
    return sparse.csr_array(np.where(probabilities >= LEAST, probabilities, 0))


def shares(
    probabilities: sparse.csr_array, prior: np.ndarray, weights: np.ndarray | None = None,
    start: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """(k,) shares of the classes among n pictures with these calibrated `probabilities` (n, k).

    `prior` (k,), above 0: the shares where the network learned. `weights` (n,): how often each picture counts.
    """
    often = np.ones(probabilities.shape[0]) if weights is None else weights
    turned, found = probabilities.T.tocsr(), prior if start is None else start
    for _ in range(_STEPS):
        ratio = found / prior
        better = ratio * (turned @ (often / (probabilities @ ratio))) / often.sum()
        change, found = float(np.abs(better - found).sum()), better
        if change < _CLOSE:
            break
    return found


def counts(
    probabilities: sparse.csr_array, prior: np.ndarray, classes: Sequence[str], *, draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """A row a class that is among n answers, or may be: `label`, `answers`, and `estimate` of how many there are.

    `low` and `high`: the 95 % interval of the estimate, of a bootstrap over the pictures.
    """
    number = probabilities.shape[0]
    answered = np.bincount(np.asarray(probabilities.argmax(axis=1)).ravel(), minlength=len(classes))
    found, chance = shares(probabilities, prior), np.random.default_rng(seed)
    inside = found > 0
    spread = np.empty((draws, len(classes)))
    for draw in range(draws):
        often = chance.multinomial(number, np.full(number, 1 / number)).astype(float)
        rows = often > 0
        start = np.where(inside, found, 0) + prior / number
        spread[draw] = shares(probabilities[rows], prior, often[rows], start / start.sum())
    low, high = np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    table = pd.DataFrame({"label": list(classes), "answers": answered, "estimate": number * found})
    table = table.assign(low=number * low, high=number * high).round(1)
    table = table[(table["answers"] > 0) | (table["high"] >= 1)]
    return table.sort_values("estimate", ascending=False, kind="stable", ignore_index=True)
