import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common.errors import BadInput
from pipeline.comparison import effects as comparison

VALUES = st.floats(0, 1, allow_nan=False)


def full_grid():
    runs = pd.DataFrame(
        [(model, rate, seed) for model in ("a", "b") for rate in (0.1, 0.01, 0.001) for seed in (0, 1)],
        columns=["model", "lr", "seed"],
    )
    runs["accuracy"] = 0.5 + 0.2 * (runs["model"] == "b") - 0.1 * (runs["lr"] == 0.1) + 0.001 * runs["seed"]
    return runs.assign(optimizer="adam")


def test_the_choice_that_mattered_most_comes_first():
    table = comparison.effects(full_grid(), ["seed", "lr", "model", "optimizer"], "accuracy")
    assert list(table["choice"].unique()) == ["model", "lr", "seed"]
    assert list(table["range"].unique()) == pytest.approx([0.2, 0.1, 0.001])
    assert table["answer"].iloc[0] == "b"
    assert table["effect"].iloc[0] == pytest.approx(0.1)


def test_in_a_full_grid_an_effect_is_a_difference_of_means():
    runs = full_grid().assign(accuracy=np.random.default_rng(0).random(12))
    table = comparison.effects(runs, ["model", "lr"], "accuracy").set_index(["choice", "answer"])["effect"]
    means = runs.groupby("model")["accuracy"].mean() - runs["accuracy"].mean()
    assert table["model", "a"] == pytest.approx(means["a"])


def test_what_another_choice_explains_is_taken_away():
    runs = full_grid().drop(index=[0, 1, 2, 3])  # model a is left with the worst rate only... and the best
    table = comparison.effects(runs, ["model", "lr"], "accuracy").set_index(["choice", "answer"])["effect"]
    assert table["model", "b"] - table["model", "a"] == pytest.approx(0.2, abs=0.01)


def test_choices_that_vary_only_together_are_one():
    runs = full_grid().assign(head=lambda made: made["model"].map({"a": "linear", "b": "mlp"}))
    table = comparison.effects(runs, ["model", "lr", "head", "seed"], "accuracy")
    assert list(table["choice"].unique()) == ["model + head", "lr", "seed"]
    assert list(table["answer"][:2]) == ["b + mlp", "a + linear"]
    assert table["effect"].iloc[0] == pytest.approx(0.1)
    assert list(table["runs"][:2]) == [6, 6]


@pytest.mark.parametrize(
    ("answers", "groups"),
    [
        ([(0, 0), (0, 1), (1, 0), (1, 1)], [["a"], ["b"]]),
        ([(0, 0), (0, 1), (1, 0)], [["a"], ["b"]]),  # one cell of the grid is missing
        ([(0, 0), (0, 1), (1, 2), (1, 3)], [["a", "b"]]),  # each a has answers to b of its own
        ([(0, 0, 0), (1, 1, 1)], [["a", "b", "c"]]),
        ([(0, 0, 0), (1, 1, 0), (1, 0, 1)], [["a", "b", "c"]]),  # any two could be told apart, not all three
        ([(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)], [["a"], ["b"], ["c"]]),
        ([(0, 0, 0), (1, 0, 1), (0, 1, 0), (1, 1, 1)], [["a", "c"], ["b"]]),
    ],
)
def test_which_choices_can_be_told_apart(answers, groups):
    runs = pd.DataFrame(answers, columns=list("abc")[: len(answers[0])])
    assert comparison.inseparable(runs, list(runs)) == groups


@settings(max_examples=60, deadline=None)
@given(
    answers=st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=2, max_size=12),
    worth=st.lists(st.floats(-1, 1), min_size=9, max_size=9),
)
def test_what_can_be_told_apart_is_found_again(answers, worth):
    """Runs made of main effects without noise: each choice that stands alone gets its own effect back."""
    runs = pd.DataFrame(answers, columns=list("abc"))
    worth = np.reshape(worth, (3, 3))
    runs["accuracy"] = [sum(worth[key, answer] for key, answer in enumerate(one)) for one in answers]
    table = comparison.effects(runs, list("abc"), "accuracy")
    for key, name in enumerate("abc"):
        found = table[table["choice"] == name].set_index("answer")["effect"]
        expected = np.array([worth[key, int(answer)] for answer in found.index])
        if len(found):  # the same but for what the mean run has
            assert np.ptp(found.to_numpy(float) - expected) < 1e-6


def test_failed_runs_and_lone_runs_have_no_effect():
    runs = full_grid()
    runs.loc[0, "accuracy"] = np.nan
    assert comparison.effects(runs, ["model"], "accuracy")["runs"].sum() == 11
    assert comparison.effects(runs.iloc[1:2], ["model"], "accuracy").empty
    with pytest.raises(BadInput, match="no run has modle; did you mean model"):
        comparison.effects(runs, ["modle"], "accuracy")


@settings(max_examples=60, deadline=None)
@given(points=st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=30))
def test_the_front_is_what_nobody_beats(points):
    runs = pd.DataFrame(points, columns=["minutes", "accuracy"])
    front = comparison.pareto(runs, "minutes", "accuracy")
    for row, (cost, quality) in enumerate(points):
        beaten = any(c <= cost and q >= quality and (c, q) != (cost, quality) for c, q in points)
        if front[row]:
            assert not beaten
        else:
            assert beaten or points.count((cost, quality)) > 1
    assert front.any()


def test_the_grid_has_the_best_in_its_corner():
    runs = pd.DataFrame(
        {
            "model": ["small", "small", "large", "large", "large"],
            "regime": ["frozen", "imagenet", "frozen", "imagenet", "imagenet"],
            "accuracy": [0.3, 0.5, 0.4, 0.7, 0.9],
        }
    )
    table = comparison.grid(runs, "accuracy")
    assert (table.index[0], table.columns[0]) == ("large", "imagenet")
    assert table.iloc[0, 0] == pytest.approx(0.8)
