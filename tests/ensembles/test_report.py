import numpy as np
import pytest

from pipeline.ensembles import report
from pipeline.errors import BadInput


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
    expected = outcome.predictions["soft_vote"].correct.mean() - test[best].correct.mean()
    assert soft["gain"] == pytest.approx(expected)
    assert 0 < soft["low"] < soft["gain"] < soft["high"]
    assert soft["p"] <= soft["p_holm"] < 0.05


def test_names_that_do_not_fit(make_members):
    val = make_members()
    with pytest.raises(BadInput, match="no strategy soft_votes; did you mean soft_vote"):
        report.evaluate(val, val, ["soft_votes"])
    with pytest.raises(BadInput, match="a member is called greedy"):
        report.evaluate({**val, "greedy": val["run 0"]}, val, ["soft_vote"])
