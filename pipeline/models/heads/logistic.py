"""L2 logistic regression on standardised features, its strength chosen by cross-validation.

scikit-learn's solver takes each strength and fold anew, some hundred steps each. Here all folds of a strength go
together, from the solution at the strength before, in a basis in which all directions are about equally curved: eight
steps do to choose by. (bench/logistic_head.py sets one beside the other.)
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.functional import one_hot

from pipeline.models.heads.fitted import FittedHead, usual_scale

log = logging.getLogger("pipeline.train")


class LogisticRegression(FittedHead):
    """Multinomial logistic regression; the features' scales are folded into the weights: one linear layer.

    `C` is the inverse of the L2 penalty's strength, as scikit-learn counts it: smaller values keep the weights smaller.
    `auto` chooses among `STRENGTHS` by cross-validation.
    """

    weighs: ClassVar[bool] = True
    averages: ClassVar[bool] = True

    def __init__(self, n_features: int, n_classes: int, C: float | Literal["auto"] = "auto") -> None:  # noqa: N803 - scikit-learn's name
        super().__init__()
        self.inverse_penalty = C
        self.linear = nn.Linear(n_features, n_classes)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear(features)

    @torch.no_grad()
    def fit(
        self, features: torch.Tensor, labels: torch.Tensor, *, weights: torch.Tensor | None = None,
        pictures: torch.Tensor | None = None,
    ) -> None:  # fmt: skip
        mean, scale = usual_scale(features)
        there, codes = torch.unique(labels, return_inverse=True)
        weight = torch.zeros(self.linear.weight.shape, dtype=torch.float64)
        bias = torch.full((len(weight),), -np.log(len(labels)))  # of a class without pictures: rarer than one in all
        bias = bias.double().index_fill(0, there, 0.0)
        if len(there) > 1:
            counts = torch.ones(len(labels)) if weights is None else weights.float()
            problem = Problem.of((features.double() - mean) / scale, codes)
            chosen = self.inverse_penalty
            if chosen == "auto":
                chosen = best_strength(problem, counts, torch.arange(len(labels)) if pictures is None else pictures)
            ((found, shift),) = problem.solve([chosen], counts[:, None], _EXACT)
            weight[there] = (problem.basis @ found[..., 0].double()).T / scale
            bias[there] = shift[:, 0].double() - weight[there] @ mean
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)


# Those that are tried: the weights of features that are standardised need no more than these.
STRENGTHS = tuple(10 ** (power / 2) for power in range(-6, 2))
_USUAL = 1.0  # scikit-learn's, where there are too few pictures to try any
_FOLDS = 3
_ROUGH, _EXACT = (8, 1e-6), (500, 1e-7)
_MOST = 2**25  # logits in memory at once


def best_strength(problem: "Problem", counts: torch.Tensor, pictures: torch.Tensor) -> float:
    """The least C whose log loss on pictures left out, each fold's in turn, is within a standard error of the best.

    That rule is Breiman's (1984): what cannot be told from the best is not taken for better. `counts` (n,) says how
    much each picture counts; of what is of one of `pictures` all is left out. C rises until it has been worse twice.
    """
    labels = problem.labels
    owner = torch.unique(pictures, return_inverse=True)[1]
    first = torch.zeros(int(owner.max()) + 1, dtype=torch.int64).scatter_(0, owner, labels)
    if int(first.bincount(minlength=problem.n_classes).min()) < 2:
        log.info("head.C=%g: some class has one picture, too few to choose by", _USUAL)
        return _USUAL
    fold = torch.from_numpy(_dealt_out(first.numpy()))[owner]
    seen = torch.stack([counts * (fold != number) for number in range(_FOLDS)], dim=1)
    losses, errors = list[float](), list[float]()
    for weight, bias in problem.solve(STRENGTHS, seen, _ROUGH):
        own = problem.logits(weight, bias)[torch.arange(len(labels)), :, fold].log_softmax(1)
        each = -own[torch.arange(len(labels)), labels] * counts / counts.mean()
        losses.append(float(each.mean()))
        errors.append(float(each.std()) / len(each) ** 0.5)
        if len(losses) - 1 - int(np.argmin(losses)) >= 2:
            break
    best = int(np.argmin(losses))
    chosen = next(place for place, loss in enumerate(losses) if loss <= losses[best] + errors[best])
    log.info(
        "head.C=%.3g was chosen, by %d-fold cross-validation on train: log loss %.3f, the least %.3f +- %.3f at C=%.3g",
        STRENGTHS[chosen], _FOLDS, losses[chosen], losses[best], errors[best], STRENGTHS[best],
    )  # fmt: skip
    return STRENGTHS[chosen]


def _dealt_out(labels: np.ndarray) -> np.ndarray:
    """(n,) the fold of each picture: a class's pictures one by one, in an order by chance that is always the same."""
    shuffled = np.random.default_rng(0).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    fold = np.empty(len(labels), dtype=np.int64)
    fold[by_class] = np.arange(len(labels)) % _FOLDS
    return fold


@dataclass(frozen=True)
class Problem:
    """Features (n, r) in the basis (n_features, r) of their principal directions, whose squared lengths are `spread`.

    With fewer pictures than features that basis loses nothing: weights have no reason to leave it.
    """

    values: torch.Tensor
    labels: torch.Tensor
    spread: torch.Tensor
    basis: torch.Tensor
    n_classes: int

    @classmethod
    def of(cls, features: torch.Tensor, labels: torch.Tensor) -> "Problem":
        """From standardised features (n, n_features) float64 and labels (n,), each of 0 to n_classes - 1 among them."""
        few = len(features) < features.shape[1]
        spread, basis = torch.linalg.eigh(features @ features.T if few else features.T @ features)
        kept = spread > _LEAST_SPREAD * spread[-1]
        spread, basis = spread[kept], basis[:, kept]
        if few:
            basis = features.T @ basis / spread.sqrt()
        return cls((features @ basis).float(), labels, spread.float(), basis, int(labels.max()) + 1)

    def logits(self, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """(n, n_classes, k) of k solutions."""
        return torch.einsum("nr,rck->nck", self.values, weight) + bias

    def solve(
        self, strengths: Sequence[float], counts: torch.Tensor, how: tuple[int, float]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """For each strength, from the solution at the one before: weights (r, n_classes, k), biases (n_classes, k).

        k problems at once, which differ in how much pictures count: `counts` (n, k). L-BFGS (Liu and Nocedal 1989) on
        weights divided by what the curvature suggests; `how`: the most steps, and the gain a picture that ends them.
        """
        shape = (len(self.spread) + 1, self.n_classes, counts.shape[1])
        solution = torch.zeros(shape)
        for strength in strengths:
            # Two classes have one row in scikit-learn, whose penalty is twice that of two rows half as long.
            penalty = (2 if self.n_classes == 2 else 1) / strength
            curvature = (self.n_classes - 1) / self.n_classes**2  # where all classes are as likely
            unit = torch.cat([curvature * self.spread + penalty, torch.tensor([curvature * len(self.values)])])
            unit = unit.rsqrt()[:, None, None]
            solution = self._solution(solution / unit, unit, penalty, counts, how) * unit
            yield solution[:-1], solution[-1]

    def _solution(
        self, start: torch.Tensor, unit: torch.Tensor, penalty: float, counts: torch.Tensor, how: tuple[int, float]
    ) -> torch.Tensor:
        found = start.clone().requires_grad_()
        found.grad = torch.zeros_like(found)
        solver = torch.optim.LBFGS(
            [found], max_iter=how[0], tolerance_grad=0, tolerance_change=how[1] * float(counts.sum()),
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        @torch.no_grad()
        def loss() -> torch.Tensor:
            scaled = found * unit
            value, slope = self._log_loss(scaled[:-1], scaled[-1], counts)
            slope[:-1] += penalty * scaled[:-1]
            found.grad = slope * unit
            return value + penalty / 2 * scaled[:-1].square().sum()

        with torch.enable_grad():
            solver.step(loss)  # type: ignore[no-untyped-call]
        return found.detach()

    def _log_loss(
        self, weight: torch.Tensor, bias: torch.Tensor, counts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The sum over pictures and problems (), and its slope (r + 1, n_classes, k)."""
        rows, shape = weight.flatten(1), weight.shape[1:]
        total, slope = torch.zeros(()), torch.zeros(len(weight) + 1, *shape)
        for some in torch.split(torch.arange(len(self.values)), max(1, _MOST // shape.numel())):
            values, count = self.values[some], counts[some]
            scores = (values @ rows).view(-1, *shape) + bias
            truth = one_hot(self.labels[some], self.n_classes)[..., None]
            scores = scores.log_softmax(1)
            total -= ((scores * truth).sum(1) * count).sum()
            off = (scores.exp_() - truth) * count[:, None]
            slope[:-1] += (values.T @ off.flatten(1)).view(-1, *shape)
            slope[-1] += off.sum(0)
        return total, slope


_LEAST_SPREAD = 1e-9  # of the widest direction's: below is what rounding left
