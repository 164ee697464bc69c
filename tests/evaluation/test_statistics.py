from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score
from statsmodels.stats.proportion import proportion_confint

from pipeline.evaluation import statistics

CODES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(pairs=CODES)
def test_figures_of_a_resample_agree_with_scikit_learn(pairs):
    truth, answer = np.array(pairs).T
    rows = np.arange(len(truth))
    expected = f1_score(truth, answer, average="macro")
    assert statistics.macro_f1_of(rows, truth, answer) == pytest.approx(expected, abs=1e-9)
    expected = balanced_accuracy_score(truth, answer)
    assert statistics.balanced_accuracy_of(rows, truth, answer) == pytest.approx(expected, abs=1e-9)


def test_the_bootstrap_agrees_with_the_binomial_law():
    right = np.arange(400) < 320
    interval = statistics.interval_of_mean(right, resamples=20_000)
    low, high = proportion_confint(320, 400, method="normal")
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.8, low, high), abs=0.004)
    assert interval == statistics.interval_of_mean(right, resamples=20_000)


@pytest.mark.parametrize("right", [0, 196])
def test_all_right_is_not_without_doubt(right):
    interval = statistics.interval_of_mean(np.arange(196) < right)
    assert (interval.low, interval.high) == pytest.approx(proportion_confint(right, 196, method="wilson"), abs=1e-9)
    assert interval.high - interval.low > 0.01


def test_intervals_hold_their_figure(make_predictions):
    figures = statistics.intervals(make_predictions(300, 6), resamples=300)
    assert set(figures) == {"accuracy", "log_loss", "macro_f1", "balanced_accuracy"}
    for interval in figures.values():
        assert interval.low < interval.value < interval.high


def test_an_interval_holds_its_figure_also_where_classes_have_few_pictures(make_predictions):
    interval = statistics.intervals(make_predictions(150, 100, signal=3), resamples=300)["macro_f1"]
    assert interval.low < interval.value < interval.high


def test_an_interval_covers_the_truth_as_often_as_it_says():
    chance = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        interval = statistics.interval_of_mean(chance.random(150) < 0.7, resamples=300)
        hits += interval.low <= 0.7 <= interval.high
    assert 0.89 <= hits / 200 <= 0.99


def test_seeds_agree_with_scipy():
    values = [0.91, 0.93, 0.92, 0.95]
    figures = statistics.over_seeds(values)
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (figures["low"], figures["high"]) == pytest.approx(expected)
    assert (figures["mean"], figures["n"]) == (pytest.approx(0.9275), 4)
    assert np.isnan(statistics.over_seeds([0.9])["sd"])


def test_difference_over_seeds_agrees_with_scipy():
    interval, p = statistics.difference_over_seeds([0.9, 0.92, 0.91], [0.85, 0.88, 0.83])
    assert interval.value == pytest.approx(np.mean([0.9, 0.92, 0.91]) - np.mean([0.85, 0.88, 0.83]))
    assert interval.low < interval.value < interval.high
    assert p == pytest.approx(stats.ttest_ind([0.9, 0.92, 0.91], [0.85, 0.88, 0.83], equal_var=False).pvalue)


def network(shared, seed, signal):
    """Another network's answers for the same pictures."""
    noise = np.random.default_rng(seed).normal(size=shared.logits.shape).astype(np.float32)
    noise[np.arange(len(shared)), shared.labels] += signal
    return replace(shared, logits=noise)


def test_paired_tests_agree_with_the_binomial_law_and_holm(make_predictions):
    shared = make_predictions(300, 4)
    runs = {
        name: network(shared, seed, signal) for seed, (name, signal) in enumerate({"a": 1, "b": 1.1, "c": 3}.items())
    }
    table = statistics.paired_tests(runs)
    assert len(table) == 3
    for row in table.itertuples():
        one, other = runs[row.one].correct, runs[row.other].correct
        assert row.difference == pytest.approx(one.mean() - other.mean())
        assert (row.only_one, row.only_other) == ((one & ~other).sum(), (other & ~one).sum())
        expected = stats.binomtest(int(row.only_one), int(row.only_one + row.only_other)).pvalue
        assert row.p == pytest.approx(expected, rel=1e-6)
        assert row.low <= row.difference <= row.high
    holm = np.maximum.accumulate(table["p"] * [3, 2, 1]).clip(upper=1)
    np.testing.assert_allclose(table["p_holm"], holm)
    assert table["p_holm"].iloc[0] < 0.001


def test_tests_against_one_leader(make_predictions):
    shared = make_predictions(100, 4)
    runs = {name: network(shared, seed, 1) for seed, name in enumerate("abcd")}
    table = statistics.paired_tests(runs, against="b")
    assert len(table) == 3
    assert ((table["one"] == "b") | (table["other"] == "b")).all()


def test_the_same_run_twice_is_no_difference(make_predictions):
    one = make_predictions()
    row = statistics.paired_tests({"a": one, "b": one}).iloc[0]
    assert (row["difference"], row["low"], row["high"], row["p"], row["p_holm"]) == (0, 0, 0, 1, 1)
    assert statistics.paired_tests({"a": one}).empty
