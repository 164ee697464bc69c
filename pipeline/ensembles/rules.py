"""Ways to make one answer of several networks' answers.

A rule takes the members' probabilities, M arrays of (b, k), and gives one (b, k) array of probabilities. It
is the same for stored predictions (`combine`) and for a served picture, and is stored as JSON (`to_dict`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from scipy.special import softmax

from pipeline.ensembles.members import checked
from pipeline.errors import BadInput
from pipeline.evaluation.builder import PredictionsBuilder
from pipeline.evaluation.predictions import Predictions

FORMAT_VERSION = 1
TINY = float(np.finfo(np.float32).tiny)


class Rule(Protocol):
    """What every rule can do."""

    name: ClassVar[str]

    def __call__(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """M arrays of (b, k) probabilities -> (b, k) probabilities."""
        ...


@dataclass(frozen=True)
class HardVote:
    """Every member has one vote, for its likeliest class; ties are broken by the mean probability.

    A class's share of the votes, where the mean probability counts as one vote more, shared out: so the
    result is a probability, and ties are broken without ever turning a vote.
    """

    name: ClassVar[str] = "hard_vote"

    def __call__(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """See `Rule`."""
        votes = sum(members[1:], start=members[0]) / np.float32(len(members))
        rows = np.arange(len(votes))
        for member in members:
            votes[rows, member.argmax(axis=1)] += 1.0
        return votes / (len(members) + 1)


@dataclass(frozen=True)
class SoftVote:
    """The members' mean probability, weighted where `weights` (M, summing to one) are given."""

    name: ClassVar[str] = "soft_vote"
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

    def __call__(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """See `Rule`."""
        features = side_by_side(members)
        return softmax(features @ np.asarray(self.coefficients).T + np.asarray(self.intercepts), axis=1)


RULES: dict[str, type] = {rule.name: rule for rule in (HardVote, SoftVote, SharedStack, ClassStack)}


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
    return {"format_version": FORMAT_VERSION, "rule": rule.name, **asdict(rule)}


def from_dict(stored: Mapping[str, Any]) -> Rule:
    """The rule that `to_dict` stored; BadInput for one that this program does not know."""
    fields = dict(stored)
    version, name = fields.pop("format_version", None), fields.pop("rule", None)
    if version != FORMAT_VERSION or name not in RULES:
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
