import warnings
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
@given(pairs=CODES, groups=st.booleans())
def test_averages_over_classes_agree_with_scikit_learn_and_lie_in_their_intervals(pairs, groups):
    truth, answer = np.array(pairs).T
    found = statistics.intervals_of_class_averages(truth, answer, groups=truth % 2 if groups else None)
    assert found["macro_f1"].value == pytest.approx(f1_score(truth, answer, average="macro"), abs=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that occur as answers alone
        assert found["balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(truth, answer), abs=1e-9)
    for interval in found.values():
        assert 0 <= interval.low <= interval.value <= interval.high <= 1


@pytest.mark.parametrize(("right", "of"), [(320, 400), (45, 48), (1, 1), (0, 7)])
def test_a_share_has_wilsons_interval(right, of):
    interval = statistics.interval_of_share(np.arange(of) < right)
    expected = proportion_confint(right, of, method="wilson")
    assert (interval.value, interval.low, interval.high) == pytest.approx((right / of, *expected), abs=1e-9)


@pytest.mark.parametrize(("pictures", "share"), [(140, 0.97), (48, 0.94)])
def test_an_interval_near_one_covers_the_truth_as_often_as_it_says(pictures, share):
    law = stats.binom(pictures, share)
    ends = [statistics.interval_of_share(np.arange(pictures) < right) for right in range(pictures + 1)]
    covered = sum(law.pmf(right) for right, one in enumerate(ends) if one.low <= share <= one.high)
    assert covered > 0.945  # the percentile bootstrap: 0.92


def test_pictures_of_one_specimen_count_as_less_than_as_many_of_many():
    right = np.repeat(np.arange(28) % 7 > 0, 5)
    alone = statistics.interval_of_share(right)
    together = statistics.interval_of_share(right, groups=np.repeat(np.arange(28), 5))
    whole = statistics.interval_of_share(right[::5])
    assert together.high - together.low > 1.9 * (alone.high - alone.low)
    assert together.high - together.low == pytest.approx(whole.high - whole.low, abs=0.03)
    distinct = statistics.interval_of_share(right, groups=np.arange(140))
    assert (distinct.low, distinct.high) == pytest.approx((alone.low, alone.high), abs=0.01)


def test_right_in_half_the_seeds_is_a_share_too():
    interval = statistics.interval_of_share(np.r_[np.ones(40), np.full(8, 0.5)])
    assert interval.value == pytest.approx(44 / 48)
    assert interval.low < interval.value < interval.high < 1


def test_averages_over_uneven_classes_cover_the_truth():
    """As `bench/interval_coverage.py` measures at length: the bootstrap covers 78 % here."""
    chance = np.random.default_rng(0)
    sizes = np.geomspace(0.35, 0.01, 10) / np.geomspace(0.35, 0.01, 10).sum()
    recalls = np.linspace(0.97, 0.6, 10)
    hits = 0
    for _ in range(300):
        labels = chance.choice(10, 60, p=sizes)
        answer = np.where(chance.random(60) < recalls[labels], labels, (labels + 1) % 10)
        found = statistics.intervals_of_class_averages(labels, answer)["balanced_accuracy"]
        hits += found.low <= recalls.mean() <= found.high
    assert hits / 300 > 0.9


def test_the_best_of_many_runs_at_chance_is_corrected_to_chance():
    tables = [np.random.default_rng(seed).random((50, 100)) < 0.5 for seed in range(1, 9)]
    assert np.mean([table.mean(axis=1).max() for table in tables]) > 0.61
    corrected = [statistics.corrected_maximum(table, resamples=200) for table in tables]
    assert np.mean(corrected) == pytest.approx(0.5, abs=0.03)


def test_a_run_that_is_really_best_loses_little():
    table = np.random.default_rng(0).random((10, 400)) < np.r_[0.9, np.full(9, 0.5)][:, None]
    assert statistics.corrected_maximum(table) == pytest.approx(table[0].mean(), abs=0.005)


def test_the_same_picture_in_several_splits_is_drawn_as_one():
    once = np.random.default_rng(0).random((20, 60)) < 0.5
    thrice = np.tile(once, 3)
    apart = statistics.corrected_maximum(thrice)
    together = statistics.corrected_maximum(thrice, np.tile(np.arange(60), 3))
    assert together == pytest.approx(statistics.corrected_maximum(once), abs=0.02)
    assert apart > together + 0.03


def test_splits_that_share_pictures_say_less_than_as_many_seeds():
    values = [0.91, 0.93, 0.92, 0.95, 0.94]
    plain, corrected = statistics.over_seeds(values), statistics.over_splits(values, 0.25)
    factor = np.sqrt((1 / 5 + 0.25) * 5)
    assert corrected["high"] - corrected["mean"] == pytest.approx(factor * (plain["high"] - plain["mean"]))
    gaps = np.array([0.02, 0.01, 0.03, 0.0, 0.02])
    t = gaps.mean() / np.sqrt(gaps.var(ddof=1) * (1 / 5 + 0.25))
    assert statistics.over_splits(gaps, 0.25)["p"] == pytest.approx(2 * stats.t.sf(t, 4))
    assert statistics.over_splits([0.0, 0.0], 0.25)["p"] == 1
    assert statistics.over_splits([0.1, 0.1], 0.25)["p"] == 0


def test_intervals_hold_their_figure(make_predictions):
    figures = statistics.intervals(make_predictions(300, 6), resamples=300)
    assert set(figures) == {"accuracy", "log_loss", "macro_f1", "balanced_accuracy"}
    for interval in figures.values():
        assert interval.low < interval.value < interval.high


def test_an_interval_holds_its_figure_also_where_classes_have_few_pictures(make_predictions):
    interval = statistics.intervals(make_predictions(150, 100, signal=3), resamples=300)["macro_f1"]
    assert interval.low < interval.value < interval.high


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
