import numpy as np
import pytest

from pipeline.common.errors import BadInput
from pipeline.ensembles import report


def test_the_table_sets_strategies_beside_members(make_members):
    val, test = make_members(pictures=300, seed=1), make_members(pictures=400, seed=2)
    outcome = report.evaluate(val, test, report.STRATEGIES)
    table = outcome.table.set_index("name")
    assert set(table.index) == {*val, *report.STRATEGIES}
    assert list(outcome.table["val_accuracy"]) == sorted(outcome.table["val_accuracy"], reverse=True)
    best = outcome.best_member
    assert table.loc[list(val), "val_accuracy"].max() == table.loc[best, "val_accuracy"]
    assert np.isnan(table.loc[best, "gain"])
    soft = table.loc["soft_vote"]
    expected = outcome.answers["soft_vote"].test.correct.mean() - test[best].correct.mean()
    assert soft["gain"] == pytest.approx(expected)
    assert 0 < soft["low"] < soft["gain"] < soft["high"]
    assert soft["p"] <= soft["p_holm"] < 0.05


def test_names_that_do_not_fit(make_members):
    val = make_members()
    with pytest.raises(BadInput, match="no strategy soft_votes; did you mean soft_vote"):
        report.evaluate(val, val, ["soft_votes"])
    with pytest.raises(BadInput, match="a member is called greedy"):
        report.evaluate({**val, "greedy": val["run 0"]}, val, ["soft_vote"])


def test_without_test_pictures_the_gain_is_that_on_val(make_members):
    val = make_members(pictures=300)
    outcome = report.evaluate(val)
    assert "test_accuracy" not in outcome.table
    soft = outcome.table.set_index("name").loc["soft_vote"]
    assert soft["gain"] == pytest.approx(
        soft["val_accuracy"] - outcome.table.set_index("name").val_accuracy[outcome.best_member]
    )
    assert outcome.answers["soft_vote"].test is None


def test_what_is_learnt_answers_for_val_by_the_other_folds(make_members):
    val = make_members(signals=(0.1,) * 8, pictures=60, classes=3)
    outcome = report.evaluate(val, strategies=["weighted_soft_vote"])
    itself = report.combine_all(val, outcome.rules)["weighted_soft_vote"]
    crossed = outcome.answers["weighted_soft_vote"].val
    assert list(crossed.ids) == list(itself.ids)
    assert crossed.true_log_probability.mean() < itself.true_log_probability.mean()


def test_ready_answers_stand_beside_the_strategies(make_members):
    val, test = make_members(seed=1), make_members(seed=2)
    soup = report.Answers(val["run 0"], test["run 0"])
    outcome = report.evaluate(val, test, ["soft_vote"], {"soup": soup})
    row = outcome.table.set_index("name").loc["soup"]
    assert row["kind"] == "strategy"
    assert row["test_accuracy"] == test["run 0"].correct.mean()


def test_ties_are_counted(make_members):
    from dataclasses import replace

    first = make_members(pictures=4, classes=3)["run 0"]

    def voting(*codes):
        return replace(first, logits=np.eye(3, dtype=np.float32)[list(codes)])

    members = {
        "a": voting(0, 0, 0, 0),
        "b": voting(0, 1, 1, 1),
        "c": voting(1, 1, 2, 2),
        "d": voting(1, 2, 0, 0),
    }
    assert report.ties(members) == 1  # 0 0 1 1; the others have a winner: 0 1 1 2, 0 1 2 0, 0 1 2 0
