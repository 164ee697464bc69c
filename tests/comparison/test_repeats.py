import numpy as np
import pandas as pd
import pytest

from pipeline.comparison.repeats import over_repeats
from pipeline.evaluation.statistics import over_seeds


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
