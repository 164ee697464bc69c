"""Ways to make one answer of several networks' answers.

A rule takes the members' probabilities, M arrays of (b, k), and gives one (b, k) array of probabilities. It
is the same for stored predictions (`combine`) and for a served picture, and is stored as JSON (`to_dict`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from scipy.special import softmax

from pipeline.common.errors import BadInput
from pipeline.ensembles.members import checked
from pipeline.predictions.builder import PredictionsBuilder
from pipeline.predictions.predictions import TINY, Predictions

_AHEAD = np.float32(1e-6)  # what a vote's winner has more than a class that is as likely


class Rule(Protocol):
    """What every rule can do."""

    name: ClassVar[str]
    version: ClassVar[int]  # of what is stored: a rule that comes to answer otherwise has another

    def __call__(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """M arrays of (b, k) probabilities -> (b, k) probabilities."""
        ...


@dataclass(frozen=True)
class HardVote:
    """Every member has one vote, for its likeliest class; ties are broken by the mean probability.

    A share of votes is no honest probability: networks agree far more often than they are right. So the
    probabilities are the members' mean, in which the winner of the vote changes places with the likeliest class.
    """

    name: ClassVar[str] = "hard_vote"
    version: ClassVar[int] = 2  # in 1 probabilities were shares of votes

    def __call__(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """See `Rule`."""
        mean = SoftVote()(members)
        rows = np.arange(len(mean))
        votes = np.zeros(mean.shape, dtype=np.int32)
        for member in members:
            votes[rows, member.argmax(axis=1)] += 1
        winner = np.where(votes == votes.max(axis=1, keepdims=True), mean, -1.0).argmax(axis=1)
        likeliest = mean.argmax(axis=1)
        mean[rows, winner], mean[rows, likeliest] = mean[rows, likeliest], mean[rows, winner]
        mean *= 1.0 - _AHEAD
        mean[rows, winner] += _AHEAD
        return mean


@dataclass(frozen=True)
class SoftVote:
    """The members' mean probability, weighted where `weights` (M, summing to one) are given."""

    name: ClassVar[str] = "soft_vote"
    version: ClassVar[int] = 1
    weights: tuple[float, ...] | None = None

    def __call__(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """See `Rule`."""
        weights = self.weights or (1.0 / len(members),) * len(members)
        return sum(np.float32(weight) * member for weight, member in _used(weights, members))  # type: ignore[return-value]


@dataclass(frozen=True)
class SharedStack:
    """Stacking with one coefficient a member: softmax of the weighted sum of log-probabilities.

    It is a logistic regression whose coefficients are the same for all classes, so that it can be learnt from
    few val pictures and knows classes that val never shows. Coefficients need not sum to one, so the
    result is calibrated too.
    """

    weights: tuple[float, ...]
    name: ClassVar[str] = "stacking"
    version: ClassVar[int] = 1

    def __call__(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """See `Rule`."""
        parts = (weight * _log(member) for weight, member in _used(self.weights, members))
        return softmax(sum(parts), axis=1)


@dataclass(frozen=True)
class ClassStack:
    """Stacking with a coefficient for each member, class and answer: scikit-learn's logistic regression.

    `coefficients` (k, M k), `intercepts` (k,) over the members' log-probabilities side by side.
    """

    coefficients: tuple[tuple[float, ...], ...]
    intercepts: tuple[float, ...]
    name: ClassVar[str] = "class_stacking"
    version: ClassVar[int] = 1

    def __call__(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """See `Rule`."""
        features = side_by_side(members)
        return softmax(features @ np.asarray(self.coefficients).T + np.asarray(self.intercepts), axis=1)


RULES: dict[str, Any] = {rule.name: rule for rule in (HardVote, SoftVote, SharedStack, ClassStack)}


def combine(members: Mapping[str, Predictions], rule: Rule) -> Predictions:
    """The ensemble's predictions, for the first member's pictures in their order.

    Sparse members: each keeps its `LARGEST` probabilities and shares the rest out evenly (see
    `Predictions.spread`), so an answer is exact as long as it stands among each member's likeliest.
    """
    return combine_all(members, {rule.name: rule})[rule.name]


def combine_all(members: Mapping[str, Predictions], rules: Mapping[str, Rule]) -> dict[str, Predictions]:
    """The same for several rules by name, in one pass over the members."""
    runs = list(checked(members).values())
    first = runs[0]
    collectors = {name: PredictionsBuilder.like(first) for name in rules}
    for rows in first.blocks():
        spread = [member.spread(rows) for member in runs]
        for name, rule in rules.items():
            collectors[name].add_probabilities(first.ids[rows], first.labels[rows], rule(spread))
    return {name: collector.finish() for name, collector in collectors.items()}


def to_dict(rule: Any) -> dict[str, Any]:
    """A rule as JSON-able data, with its `format_version`."""
    return {"format_version": rule.version, "rule": rule.name, **asdict(rule)}


def from_dict(stored: Mapping[str, Any]) -> Rule:
    """The rule that `to_dict` stored; BadInput for one that this program does not know."""
    fields = dict(stored)
    version, name = fields.pop("format_version", None), fields.pop("rule", None)
    if name not in RULES or version != RULES[name].version:
        raise BadInput(f"the ensemble's rule {name} (format_version {version}) is not known: make it again")
    return RULES[name](**{key: _tuples(value) for key, value in fields.items()})


def side_by_side(members: Sequence[np.ndarray]) -> np.ndarray:
    """(b, M k) log-probabilities, no lower than a probability of one in a million."""
    return np.log(np.maximum(np.concatenate(members, axis=1), 1e-6))


def _used(weights: Sequence[float], members: Sequence[np.ndarray]) -> list[tuple[float, np.ndarray]]:
    """The members that count, so that none is worked on in vain."""
    return [pair for pair in zip(weights, members, strict=True) if pair[0] != 0.0] or [(1.0, members[0])]


def _log(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, TINY))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value
