"""Ridge regression of attributes on features, some of which are not known."""

import logging
from typing import Any

import numpy as np

from pipeline.models.heads.logistic import FOLDS

log = logging.getLogger("pipeline.train")

PENALTIES = tuple(10 ** (power / 2) for power in range(-4, 3))  # of ridge, as shares of the training pictures
_ROUNDS, _STILL = 100, 1e-3  # of filling in what is not known, and by how little that moves in the end


class Ridge:
    """Ridge regression of several targets (n, k), of which some are not `known`, on values (n, p), for any penalty.

    What is not known is filled in with what the regression says of it, until that is still: then it counts for nothing.
    """

    def __init__(self, values: np.ndarray, targets: np.ndarray, known: np.ndarray, counts: np.ndarray) -> None:
        self.targets, self.known, self.counts = targets, known, counts[:, None].astype(np.float32)
        self.centre = np.average(values, axis=0, weights=counts)
        self.values = values - self.centre
        spectrum, self.basis = np.linalg.eigh((self.values.T @ (self.counts * self.values)).astype(np.float64))
        self.spectrum = spectrum.clip(min=0)

    def at(self, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """Weights (p, k) and bias (k,)."""
        filled, weight = self.targets, np.zeros(0)
        for _ in range(_ROUNDS):
            bias = np.average(filled, axis=0, weights=self.counts[:, 0])
            seen = self.basis.T @ (self.values.T @ (self.counts * (filled - bias)))
            weight = self.basis @ (seen / (self.spectrum + penalty)[:, None])
            if self.known.all():
                break
            before, filled = filled, np.where(self.known, self.targets, self.values @ weight + bias).astype(np.float32)
            if np.abs(filled - before).max() < _STILL:
                break
        return weight, bias - self.centre @ weight


def told_by_others(
    values: np.ndarray, targets: np.ndarray, known: np.ndarray, counts: np.ndarray, fold: np.ndarray
) -> tuple[np.ndarray, float]:
    """What is said of the targets (n, k) by those who did not see the picture, and at which penalty it was best."""
    said: Any = np.zeros((len(PENALTIES), *targets.shape), np.float32)
    for number in range(FOLDS):
        here = fold == number
        if here.all() or not here.any():
            continue
        ridge = Ridge(values[~here], targets[~here], known[~here], counts[~here])
        for place, penalty in enumerate(PENALTIES):
            weight, bias = ridge.at(penalty * float((~here).sum()))
            said[place][here] = values[here] @ weight + bias
    errors = [float(np.average(((one - targets) ** 2)[known])) for one in said]
    best = int(np.argmin(errors))
    log.info(
        "attributes: ridge at %.3g a picture was chosen, by %d-fold cross-validation on train: %.0f %% of their "
        "variance is told", PENALTIES[best], FOLDS, 100 * (1 - errors[best]),
    )  # fmt: skip
    return said[best], PENALTIES[best]
