"""What an ensemble gains: every member and strategy in one table, chosen by val, with test beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.ensembles import learning
from pipeline.ensembles.candidates import candidates
from pipeline.ensembles.learning import Learner, cross_fitted
from pipeline.ensembles.members import checked
from pipeline.ensembles.rules import HardVote, Rule, SoftVote, combine_all
from pipeline.errors import BadInput, did_you_mean
from pipeline.evaluation.predictions import Predictions
from pipeline.evaluation.statistics import paired_tests

LEARNERS: dict[str, Learner] = {
    "weighted_soft_vote": learning.weighted_vote,
    "greedy": learning.greedy_selection,
    "stacking": learning.stacking,
    "class_stacking": learning.class_stacking,
}
FIXED: dict[str, Rule] = {"hard_vote": HardVote(), "soft_vote": SoftVote()}
STRATEGIES = (*FIXED, *LEARNERS)


@dataclass(frozen=True)
class Outcome:
    """The rules by strategy, what they answer for test, and the table that sets them beside the members.

    `table`, best first by val: `name`, `kind` (member or strategy), `val_accuracy` and `val_log_loss`
    (cross-fitted for what is learnt), `test_accuracy`, `test_log_loss`, and on test against the member that
    val holds best: `gain` in accuracy with its 95 % interval `low`, `high`, and McNemar's `p` and `p_holm`.
    """

    rules: dict[str, Rule]
    predictions: dict[str, Predictions]
    table: pd.DataFrame
    best_member: str


def evaluate(
    val: Mapping[str, Predictions],
    test: Mapping[str, Predictions],
    strategies: Sequence[str] = ("hard_vote", "soft_vote", "weighted_soft_vote", "greedy", "stacking"),
) -> Outcome:
    """Learn every strategy on `val` and score it on `test`, both with a member's predictions by name."""
    for name in strategies:
        if name not in STRATEGIES:
            raise BadInput(f"no strategy {name}{did_you_mean(name, STRATEGIES)}")
    for name in set(val) & set(STRATEGIES):
        raise BadInput(f"a member is called {name}, as a strategy is: rename that run")
    val, test = checked(val), checked(test)
    if list(val) != list(test):
        raise ValueError("val and test must have the same members in the same order")
    found = candidates(val)
    rules = {name: FIXED[name] if name in FIXED else LEARNERS[name](found) for name in strategies}
    on_val = combine_all(val, {name: rule for name, rule in rules.items() if name in FIXED})
    on_val |= {name: cross_fitted(val, LEARNERS[name], found=found) for name in rules if name in LEARNERS}
    on_test = combine_all(test, rules)
    table = pd.DataFrame(_scores(val, test, "member") + _scores(on_val, on_test, "strategy"))
    members = table[table["kind"] == "member"].sort_values("val_accuracy", ascending=False, kind="stable")
    best = str(members["name"].iloc[0])
    gains = _gains(test[best], {**test, **on_test}, best)
    table = table.merge(gains, on="name", how="left").sort_values(
        ["val_accuracy", "val_log_loss"], ascending=[False, True], ignore_index=True
    )
    return Outcome(rules, on_test, table, best)


def _scores(
    val: Mapping[str, Predictions], test: Mapping[str, Predictions], kind: str
) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "kind": kind,
            "val_accuracy": float(val[name].correct.mean()),
            "val_log_loss": -float(val[name].true_log_probability.mean()),
            "test_accuracy": float(test[name].correct.mean()),
            "test_log_loss": -float(test[name].true_log_probability.mean()),
        }
        for name in test
    ]


def _gains(best: Predictions, others: Mapping[str, Predictions], best_name: str) -> pd.DataFrame:
    """Every other's gain over the best member: one row each, corrected for how many there are."""
    rivals = {name: one for name, one in others.items() if name != best_name}
    tests = paired_tests({best_name: best, **rivals}, against=best_name)
    return pd.DataFrame(
        {
            "name": tests["other"],
            "gain": 0.0 - tests["difference"],
            "low": 0.0 - tests["high"],
            "high": 0.0 - tests["low"],
            "p": tests["p"],
            "p_holm": tests["p_holm"],
        }
    )
