"""Rules learnt on val: weights, stacking, the choice of members. Test pictures have no part in it.

Each learner takes the `candidates` of the members' val predictions and gives a rule. A learnt rule has seen
val, so its own score there flatters it: `cross_fitted` gives the honest one.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from sklearn.linear_model import LogisticRegression

from pipeline.common.errors import BadInput
from pipeline.ensembles.candidates import CANDIDATES, Candidates, candidates
from pipeline.ensembles.members import checked
from pipeline.ensembles.rules import ClassStack, Rule, SharedStack, SoftVote, combine, side_by_side
from pipeline.predictions.predictions import Predictions, joined

FOLDS = 5
ENOUGH = 10_000
Learner = Callable[[Candidates], Rule]


def weighted_vote(val: Candidates, steps: int = 500) -> SoftVote:
    """The soft vote whose weights give val its least log loss.

    The weights of a mixture of fixed parts, by expectation and maximisation: each step raises the
    likelihood, which has one peak. Dempster, Laird and Rubin 1977.
    """
    of_truth = val.of_truth.astype(np.float64)
    weights = np.full(of_truth.shape[1], 1.0 / of_truth.shape[1])
    for _ in range(steps):
        parts = of_truth * weights
        updated = (parts / parts.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(updated - weights).max() < 1e-6:
            break
        weights = updated
    return SoftVote(tuple(float(weight) for weight in weights))


def greedy_selection(
    val: Candidates, *, measure: Literal["log_loss", "accuracy"] = "log_loss", rounds: int = 50
) -> SoftVote:
    """Start from the best member and add, again and again, the one that helps the soft vote most on val.

    A member may be added more than once, which weights it; members never added have weight 0. The best of
    all `rounds` is kept. Caruana et al. 2004, "Ensemble Selection from Libraries of Models". Accuracy
    moves in steps and so is chosen by luck more often; its ties go to the lower log loss.
    """
    by_loss = measure == "log_loss"  # which asks for the true class only
    truth = np.zeros_like(val.truth) if by_loss else val.truth
    probabilities = val.of_truth[:, None] if by_loss else val.probabilities
    counts = np.zeros(val.members, dtype=int)
    total = np.zeros(probabilities.shape[:2], dtype=np.float32)
    best_counts, best_cost = counts.copy(), (np.inf, np.inf)
    for _ in range(rounds):
        costs = [
            _cost(total + probabilities[:, :, number], truth, counts.sum() + 1, measure)
            for number in range(len(counts))
        ]
        chosen = min(range(len(counts)), key=costs.__getitem__)
        counts[chosen] += 1
        total += probabilities[:, :, chosen]
        if costs[chosen] < best_cost:
            best_counts, best_cost = counts.copy(), costs[chosen]
    return SoftVote(tuple(float(weight) for weight in best_counts / best_counts.sum()))


def _cost(total: np.ndarray, truth: np.ndarray, votes: int, measure: str) -> tuple[float, float]:
    """What to make small: the log loss, or the error and then the log loss."""
    of_truth = np.take_along_axis(total, truth[:, None], axis=1)[:, 0] / votes
    loss = -float(np.log(of_truth, dtype=np.float64).mean())
    return (loss, 0.0) if measure == "log_loss" else (float((total.argmax(axis=1) != truth).mean()), loss)


def stacking(val: Candidates) -> SharedStack:
    """Logistic regression on the members' log-probabilities, one coefficient a member, none below zero.

    With scikit-learn's usual penalty (C = 1), as coefficients grow without end where val is all but solved.
    Of more than `ENOUGH` pictures an even choice is used: a few coefficients need no more.
    Wolpert 1992, "Stacked Generalization"; coefficients that are not negative: Breiman 1996, "Stacked
    Regressions"; the same for all classes: McFadden 1974, "Conditional Logit Analysis".
    """
    val = val.take(np.arange(0, len(val.truth), -(-len(val.truth) // ENOUGH)))
    logs = np.log(val.probabilities)
    of_truth = np.take_along_axis(logs, val.truth[:, None, None], axis=1)[:, 0].astype(np.float64)
    sizes = np.log(val.sizes)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = logs @ weights.astype(np.float32) + sizes
        expected = np.einsum("nc,ncm->nm", softmax(scores, axis=1).astype(np.float32), logs, optimize=True)
        value = logsumexp(scores, axis=1).mean() - (of_truth @ weights).mean()
        slope = (expected - of_truth).mean(axis=0, dtype=np.float64)
        return float(value + 0.5 * weights @ weights / pictures), slope + weights / pictures

    count, pictures = val.members, len(val.truth)
    start = np.full(count, 1.0 / count)
    result = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * count)
    return SharedStack(tuple(float(weight) for weight in result.x))


def class_stacking(val: Candidates) -> ClassStack:
    """scikit-learn's logistic regression on all members' log-probabilities of all classes.

    For up to `CANDIDATES` classes, each with val pictures: what it was never shown it cannot answer.
    BadInput otherwise, with the rule to use instead.
    """
    size = len(val.classes)
    if val.probabilities.shape[1] != size:
        raise BadInput(f"class_stacking takes up to {CANDIDATES} classes, not {size}: use stacking")
    unseen = np.setdiff1d(np.arange(size), val.truth)
    if len(unseen):
        raise BadInput(
            f"val (or a fold of it) never shows {val.classes[unseen[0]]} ({len(unseen)} such classes), so "
            "class_stacking cannot learn it: use stacking, or a larger data.split.val"
        )
    features = side_by_side([val.probabilities[:, :, number] for number in range(val.members)])
    model = LogisticRegression(max_iter=1_000).fit(features, val.truth)
    weights, biases = model.coef_, model.intercept_
    if size == 2:  # scikit-learn keeps only the second class's
        weights, biases = np.vstack([0 * weights, weights]), np.append(0.0, biases)
    return ClassStack(tuple(map(tuple, weights.tolist())), tuple(biases.tolist()))


def cross_fitted(
    val: Mapping[str, Predictions],
    learner: Learner,
    *,
    found: Candidates | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> Predictions:
    """Val predictions of a learnt rule, each picture by a rule learnt from the other folds.

    So nothing leaks: the score of these may be set beside the members' own. Pictures keep their order; a
    class's pictures are spread evenly over the folds. `found` are the candidates of `val`, if known.
    """
    found = found or candidates(val)
    runs = checked(val)
    first = next(iter(runs.values()))
    if len(first) < folds:
        raise BadInput(
            f"{len(first)} val pictures are too few for {folds} folds: "
            "use what learns nothing, strategies=[hard_vote,soft_vote]"
        )
    place = fold_of(first.labels, folds, seed)
    parts, order = [], []
    for fold in range(folds):
        rule = learner(found.take(place != fold))
        held_out = {name: member.take(place == fold) for name, member in runs.items()}
        parts.append(combine(held_out, rule))
        order.append(np.flatnonzero(place == fold))
    return joined(parts).take(np.argsort(np.concatenate(order)))


def fold_of(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """(n,) the fold of each picture, a class's pictures dealt out one by one, by chance."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    place = np.empty(len(labels), dtype=np.int64)
    place[by_class] = np.arange(len(labels)) % folds
    return place
