"""Leaders class by class, against scikit-learn's recall and statsmodels' test."""

import numpy as np
import pytest
from sklearn.metrics import recall_score
from statsmodels.stats.contingency_tables import mcnemar

from pipeline.comparison.by_class import class_differences, error_by_training_size
from pipeline.comparison.entrants import Entrant, score


@pytest.fixture
def pair(make_predictions):
    made = [make_predictions(400, 5, seed=3, signal=2.0), make_predictions(400, 5, seed=3, signal=0.4)]
    runs = [
        Entrant(f"{place}", f"run {place}", {}, tuple(one.classes), "d", score(one), score(one))
        for place, one in enumerate(made)
    ]
    return made, runs


def test_shares_are_recalls_and_differences_come_largest_first(pair):
    made, (one, other) = pair
    table = class_differences(one, other, "test")
    by_class = table.set_index("class")
    recalls = [recall_score(some.labels, some.predicted, average=None) for some in made]
    assert by_class.loc[made[0].classes, "one"].to_numpy() == pytest.approx(recalls[0])
    assert by_class.loc[made[0].classes, "other"].to_numpy() == pytest.approx(recalls[1])
    assert (np.diff(table["difference"].abs()) <= 1e-12).all()
    first = table["class"].iloc[0]
    of_class = made[0].labels == made[0].classes.index(first)
    right = [some.correct[of_class] for some in made]
    p = mcnemar([[0, (right[0] & ~right[1]).sum()], [(right[1] & ~right[0]).sum(), 0]], exact=True).pvalue
    assert p <= table["p_holm"].iloc[0] <= min(1.0, 5 * p) + 1e-12


def test_runs_on_other_pictures_are_not_set_side_by_side(pair, make_predictions):
    _, (one, _) = pair
    other = score(make_predictions(300, 5, seed=4))
    assert class_differences(one, Entrant("x", "x", {}, one.classes, "d", other, other), "test").empty


def test_errors_stand_beside_training_pictures_and_classes_without_pictures_are_left_out(pair):
    made, (one, _) = pair
    table = error_by_training_size(one, "test", {made[0].classes[0]: 7})
    row = table.set_index("class").loc[made[0].classes[0]]
    labels = made[0].labels == 0
    assert row["trained"] == 7
    assert row["pictures"] == labels.sum()
    assert row["error"] == pytest.approx(1 - made[0].correct[labels].mean())
