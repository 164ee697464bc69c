"""scikit-learn's L2 logistic regression on standardised features, its strength chosen by cross-validation."""

import logging
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn

from pipeline.models.heads.fitted import Rooted, usual_scale

log = logging.getLogger("pipeline.train")


class LogisticRegression(Rooted):
    """Multinomial logistic regression; the features' scales are folded into the weights: one linear layer on them.

    Of features that are never negative it takes the square roots.

    `C` is the inverse of the L2 penalty's strength, as scikit-learn counts it: smaller values keep the weights smaller.
    `auto` chooses among `STRENGTHS` by cross-validation.
    """

    weighs: ClassVar[bool] = True
    averages: ClassVar[bool] = True

    def __init__(self, n_features: int, n_classes: int, C: float | Literal["auto"] = "auto") -> None:  # noqa: N803 - scikit-learn's name
        super().__init__()
        self.inverse_penalty = C
        self._found: Found | None = None  # in an earlier fit, close to what the next one looks for
        self.linear = nn.Linear(n_features, n_classes)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear(self.spread(features))

    @torch.no_grad()
    def settle(
        self, features: torch.Tensor, labels: torch.Tensor, *, weights: torch.Tensor | None = None,
        pictures: torch.Tensor | None = None,
    ) -> None:  # fmt: skip
        known, _ = self._known(features, labels, weights, pictures)
        if self.inverse_penalty == "auto" and len(known.there) > 1:
            solver = _solver(_ROUGH)
            self.inverse_penalty = best_strength(known, solver)
            self._found = Found.of(solver, known) if hasattr(solver, "coef_") else None

    @torch.no_grad()
    def fit(
        self, features: torch.Tensor, labels: torch.Tensor, *, weights: torch.Tensor | None = None,
        pictures: torch.Tensor | None = None,
    ) -> None:  # fmt: skip
        known, (mean, scale) = self._known(features, labels, weights, pictures)
        there = known.there
        weight = np.zeros((len(self.linear.weight), features.shape[1]))
        bias = np.full(len(weight), -np.log(len(labels)))  # of a class without pictures: rarer than one in all
        bias[there] = 0.0
        if len(there) > 1:
            solver = _solver(_ROUGH if self.tried else _EXACT)
            if self._found:
                self._found.begin(solver, known)
            strength = best_strength(known, solver) if self.inverse_penalty == "auto" else self.inverse_penalty
            fitted = known.fit(solver, strength, slice(None))
            if fitted.n_iter_.max() >= _MOST_STEPS:
                log.warning("warning: head=logistic stopped after %d steps: try a smaller head.C", _MOST_STEPS)
            got = Found.of(fitted, known)
            if self.tried:
                self._found = got
            found, shift = got.weights, got.bias
            if len(there) == 2:  # one row, the log odds of the second: half for it and half against the first
                found, shift = np.concatenate([-found, found]) / 2, np.concatenate([-shift, shift]) / 2
            weight[there] = found / scale
            bias[there] = shift - weight[there] @ mean
        self.linear.weight.copy_(torch.from_numpy(weight))
        self.linear.bias.copy_(torch.from_numpy(bias))

    def _known(
        self, features: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None, pictures: torch.Tensor | None
    ) -> "tuple[Known, tuple[np.ndarray, np.ndarray]]":
        """Pictures as the solver is given them, and the mean and scale of their features."""
        features = self.spread_to_fit(features)
        mean, scale = (found.numpy() for found in usual_scale(features, self.joined))
        counts = np.ones(len(labels)) if weights is None else weights.numpy().astype(np.float64)
        own = np.arange(len(labels)) if pictures is None else pictures.numpy()
        values, basis = _rotated(((features.numpy() - mean) / scale).astype(np.float32))
        return Known(values, labels.numpy(), counts, own, basis), (mean, scale)


# Those that are tried: the weights of features that are standardised need no more than these.
STRENGTHS = tuple(10 ** (power / 2) for power in range(-5, 2))
_USUAL = 1.0  # scikit-learn's, where there are too few pictures to try any
FOLDS = 3
# How flat is flat enough for the solver: to choose by, where it goes on from a solution close by, and for the weights
# that are kept.
_ROUGH, _EXACT = 3e-4, 1e-6
_SOLUTION = ("coef_", "intercept_")  # where scikit-learn keeps it, and begins from
_MOST_STEPS = 1000


@dataclass(frozen=True)
class Known:
    """Standardised features (n, r), labels (n,), how much each counts (n,), and which are of one picture (n,).

    `basis` (r, p) is what the features stand in.
    """

    values: np.ndarray
    labels: np.ndarray
    counts: np.ndarray
    pictures: np.ndarray
    basis: np.ndarray

    @property
    def there(self) -> np.ndarray:
        """The labels that come among them."""
        return np.unique(self.labels)

    def fit(self, solver: Any, strength: float, some: Any) -> Any:
        """The solver, fitted to `some` rows; it goes on from where it was."""
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # told of by who keeps the weights
            return solver.set_params(C=strength).fit(self.values[some], self.labels[some], self.counts[some])


@dataclass(frozen=True)
class Found:
    """What a solver found: weights (k, p) of standardised features and bias (k,) of the labels that were `there`."""

    weights: np.ndarray
    bias: np.ndarray
    there: np.ndarray

    @classmethod
    def of(cls, solver: Any, known: Known) -> "Found":
        """Out of the basis that the solver was given."""
        return cls(solver.coef_ @ known.basis, solver.intercept_, known.there)

    def begin(self, solver: Any, known: Known) -> None:
        """Have a solver begin from it, where it is to tell the same labels apart."""
        if np.array_equal(self.there, known.there):
            solver.coef_, solver.intercept_ = self.weights @ known.basis.T, self.bias


def best_strength(known: Known, begins: Any) -> float:
    """The least C whose log loss on pictures left out, each fold's in turn, is within a standard error of the best.

    That rule is Breiman's (1984): what cannot be told from the best is not taken for better. Of what is of one picture
    all is left out. C rises until it has been worse twice. `begins` will begin from the mean of what the folds had
    found at that strength.
    """
    _, first, owner = np.unique(known.pictures, return_index=True, return_inverse=True)
    if np.unique(known.labels[first], return_counts=True)[1].min() < 2:
        log.info("head.C=%g: some class has one picture, too few to choose by", _USUAL)
        return _USUAL
    fold = dealt_out(known.labels[first])[owner]
    solvers = [_solver(_ROUGH) for _ in range(FOLDS)]
    losses, errors, found = list[float](), list[float](), list[list[np.ndarray]]()
    for strength in STRENGTHS:
        each = np.empty(len(fold))
        for number, solver in enumerate(solvers):
            left_out = fold == number
            known.fit(solver, strength, ~left_out)
            said, truth = _log_probabilities(solver, known.values[left_out]), known.labels[left_out]
            each[left_out] = -said[np.arange(len(said)), np.searchsorted(solver.classes_, truth)]
        each *= known.counts / known.counts.mean()
        losses.append(float(each.mean()))
        errors.append(float(each.std() / len(each) ** 0.5))
        found.append([np.mean([getattr(one, part) for one in solvers], axis=0) for part in _SOLUTION])
        if len(losses) - 1 - int(np.argmin(losses)) >= 2:
            break
    best = int(np.argmin(losses))
    chosen = next(place for place, loss in enumerate(losses) if loss <= losses[best] + errors[best])
    log.info(
        "head.C=%.3g was chosen, by %d-fold cross-validation on train: log loss %.3f, the least %.3f +- %.3f at C=%.3g",
        STRENGTHS[chosen], FOLDS, losses[chosen], losses[best], errors[best], STRENGTHS[best],
    )  # fmt: skip
    for part, values in zip(_SOLUTION, found[chosen], strict=True):
        setattr(begins, part, values)
    return STRENGTHS[chosen]


def _log_probabilities(solver: Any, values: np.ndarray) -> np.ndarray:
    """(n, classes), finite, where scikit-learn's own take the logarithm of a probability that may be 0 by then."""
    from scipy.special import log_softmax

    found = solver.decision_function(values)
    if found.ndim == 1:  # the log odds of the second class
        found = np.stack([-found, found], axis=1) / 2
    return np.asarray(log_softmax(found, axis=1))


def _solver(tolerance: float) -> Any:
    from sklearn.linear_model import LogisticRegression as Solver  # only who fits needs it, who serves does not

    return Solver(tol=tolerance, max_iter=_MOST_STEPS, warm_start=True)


def _rotated(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (n, p) as (n, r) coordinates in an orthonormal basis (r, p), r as small as it can be: n where n < p.

    Nothing is lost: the penalty knows lengths alone, and weights have no reason to leave what the pictures span.
    """
    if len(values) >= values.shape[1]:
        return values, np.eye(values.shape[1], dtype=values.dtype)
    basis, coordinates = np.linalg.qr(values.T)
    return np.ascontiguousarray(coordinates.T), basis.T


def dealt_out(labels: np.ndarray) -> np.ndarray:
    """(n,) the fold of each picture: a class's pictures one by one, in an order by chance that is always the same."""
    shuffled = np.random.default_rng(0).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    fold = np.empty(len(labels), dtype=np.int64)
    fold[by_class] = np.arange(len(labels)) % FOLDS
    return fold
