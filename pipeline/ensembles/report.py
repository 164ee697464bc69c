"""What an ensemble gains: every member and strategy in one table, chosen by val, with test beside it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.ensembles import learning
from pipeline.ensembles.candidates import candidates
from pipeline.ensembles.learning import Learner, cross_fitted
from pipeline.ensembles.members import checked
from pipeline.ensembles.rules import HardVote, Rule, SoftVote, combine_all
from pipeline.evaluation.statistics import paired_tests
from pipeline.predictions.predictions import Predictions

LEARNERS: dict[str, Learner] = {
    "weighted_soft_vote": learning.weighted_vote,
    "greedy": learning.greedy_selection,
    "stacking": learning.stacking,
    "class_stacking": learning.class_stacking,
}
FIXED: dict[str, Rule] = {"hard_vote": HardVote(), "soft_vote": SoftVote()}
STRATEGIES = (*FIXED, *LEARNERS)
DEFAULT = ("hard_vote", "soft_vote", "weighted_soft_vote", "greedy", "stacking")


@dataclass(frozen=True)
class Answers:
    """What was predicted for val and, where there are test pictures, for test."""

    val: Predictions
    test: Predictions | None


@dataclass(frozen=True)
class Outcome:
    """The rules by strategy, what they answer, and the table that sets them beside the members.

    `answers`, by strategy: for val cross-fitted where the strategy is learnt, for test by `rules`.
    `table`, best first by val: `name`, `kind` (member or strategy), `val_accuracy` and `val_log_loss`
    (cross-fitted for what is learnt), `test_accuracy`, `test_log_loss`, and against the member that val holds
    best: `gain` in accuracy with its 95 % interval `low`, `high`, and McNemar's `p` and `p_holm`. The gain is
    that on test; without test pictures the columns of test are missing and the gain is that on val.
    """

    rules: dict[str, Rule]
    answers: dict[str, Answers]
    table: pd.DataFrame
    best_member: str

    @property
    def split(self) -> str:
        """The split on which the gain is told."""
        return "test" if "test_accuracy" in self.table else "val"

    @property
    def best_strategy(self) -> str:
        """The strategy that val holds best; of equals, the one of lower log loss."""
        return str(self.table.loc[self.table["kind"] == "strategy", "name"].iloc[0])


def evaluate(
    val: Mapping[str, Predictions],
    test: Mapping[str, Predictions] | None = None,
    strategies: Sequence[str] = DEFAULT,
    ready: Mapping[str, Answers] | None = None,
) -> Outcome:
    """Learn every strategy on `val` and score it on `test`, both with a member's predictions by name.

    `ready` are further strategies' answers, such as a soup's. BadInput for all that `checked` refuses.
    """
    for name in strategies:
        if name not in STRATEGIES:
            raise BadInput(f"no strategy {name}{did_you_mean(name, STRATEGIES)}")
    for name in set(val) & {*STRATEGIES, *(ready or {})}:
        raise BadInput(f"a member is called {name}, as a strategy is: rename that run")
    val, test = checked(val), checked(test) if test else {}
    if test and list(val) != list(test):
        raise ValueError("val and test must have the same members in the same order")
    found = candidates(val)
    rules = {name: FIXED[name] if name in FIXED else LEARNERS[name](found) for name in strategies}
    on_val = combine_all(val, {name: rule for name, rule in rules.items() if name in FIXED})
    on_val |= {name: cross_fitted(val, LEARNERS[name], found=found) for name in rules if name in LEARNERS}
    on_test = combine_all(test, rules) if test else {}
    answers = {name: Answers(on_val[name], on_test.get(name)) for name in rules} | dict(ready or {})
    members = {name: Answers(val[name], test.get(name)) for name in val}
    table = pd.DataFrame([*_rows(members, "member"), *_rows(answers, "strategy")]).sort_values(
        ["val_accuracy", "val_log_loss"], ascending=[False, True], kind="stable", ignore_index=True
    )
    best = str(table.loc[table["kind"] == "member", "name"].iloc[0])
    gains = _gains(members[best], {**members, **answers}, best)
    return Outcome(rules, answers, table.merge(gains, on="name", how="left"), best)


def ties(members: Mapping[str, Predictions]) -> int:
    """For how many pictures a hard vote has no single winner. The members' pictures are in one order."""
    votes = np.stack([member.predicted for member in members.values()])
    counts = np.stack([(votes == vote).sum(axis=0) for vote in votes])
    leading = counts == counts.max(axis=0)
    first = np.take_along_axis(votes, leading.argmax(axis=0)[None], axis=0)
    return int((leading & (votes != first)).any(axis=0).sum())


def _rows(scored: Mapping[str, Answers], kind: str) -> Iterator[dict[str, Any]]:
    for name, answers in scored.items():
        row: dict[str, Any] = {"name": name, "kind": kind}
        for split, predictions in (("val", answers.val), ("test", answers.test)):
            if predictions is not None:
                row[f"{split}_accuracy"] = float(predictions.correct.mean())
                row[f"{split}_log_loss"] = -float(predictions.true_log_probability.mean())
        yield row


def _gains(best: Answers, others: Mapping[str, Answers], best_name: str) -> pd.DataFrame:
    """Every other's gain over the best member: one row each, corrected for how many there are."""
    rivals = {name: one.test or one.val for name, one in others.items() if name != best_name}
    tests = paired_tests({best_name: best.test or best.val, **rivals}, against=best_name)
    gains = {"gain": 0.0 - tests["difference"], "low": 0.0 - tests["high"], "high": 0.0 - tests["low"]}
    return tests.assign(name=tests["other"], **gains)[["name", "gain", "low", "high", "p", "p_holm"]]
