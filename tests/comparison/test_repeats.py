import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import BadInput
from pipeline.comparison.repeats import leaderboard, over_repeats
from pipeline.evaluation.statistics import over_seeds


@pytest.fixture
def val(make_predictions):
    shared = make_predictions(150, 4, signal=1.0)
    better = make_predictions(150, 4, signal=3.0)
    return {"weak": shared, "strong": better}


def test_the_best_by_val_comes_first_whatever_test_says(val):
    table = leaderboard(val, {"strong": val["weak"], "weak": val["strong"]})
    assert list(table["run"]) == ["strong", "weak"]
    assert table["test_accuracy"].is_monotonic_increasing
    first = table.iloc[0]
    assert first["val_accuracy"] == pytest.approx(val["strong"].correct.mean())
    assert first["val_low"] < first["val_accuracy"] < first["val_high"]
    assert first["n_val"] == 150


def test_val_alone(val):
    assert not any(column.startswith("test") for column in leaderboard(val))


def test_runs_that_cannot_be_ranked_together(val, make_predictions):
    with pytest.raises(BadInput, match="other has other classes than weak"):
        leaderboard({**val, "other": make_predictions(150, 5)})
    with pytest.raises(BadInput, match="weak has predictions for one of val and test only"):
        leaderboard(val, {"strong": val["strong"]})


def test_seeds_of_the_same_choices_are_one_row():
    runs = pd.DataFrame(
        {
            "model": ["a", "a", "a", "b", "b"],
            "seed": [0, 1, 2, 0, 1],
            "accuracy": [0.7, 0.8, np.nan, 0.9, 0.94],
        }
    )
    table = over_repeats(runs, ["model", "seed"], "accuracy")
    assert list(table["model"]) == ["b", "a"]
    assert list(table["n"]) == [2, 2]
    assert dict(table.iloc[1].drop("model")) == pytest.approx(over_seeds([0.7, 0.8]))
    assert len(over_repeats(runs, ["seed"], "accuracy")) == 1
