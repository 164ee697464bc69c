from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from pipeline.common.errors import BadInput
from pipeline.evaluation import conformal
from pipeline.predictions.builder import PredictionsBuilder

PENALTIES = [0.0, 0.01]


def over_random_splits(predictions, *, repeats=100, share=0.5, seed=0, **options):
    """Does the promise hold? Calibrate on a random `share` of the pictures, score the rest; a row a repeat.

    `options` go to `calibrate`; the columns are those of `set_summary`.
    """
    chance = np.random.default_rng(seed)
    figures = []
    for _ in range(repeats):
        order = chance.permutation(len(predictions))
        cut = round(share * len(predictions))
        rule, rest = conformal.calibrate(predictions.take(order[:cut]), **options), predictions.take(order[cut:])
        figures.append(conformal.set_summary(rule.sets(rest), rest))
    return pd.DataFrame(figures)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("builder", [{}, {"dense_classes": 10, "largest": 20}])
def test_the_promise_is_kept_over_random_splits(make_predictions, penalty, builder):
    predictions = make_predictions(800, 30, signal=2.0, **builder)
    figures = over_random_splits(predictions, penalty=penalty, coverage=0.9)
    assert len(figures) == 100
    assert figures["coverage"].mean() == pytest.approx(0.9, abs=0.01)
    assert 1 < figures["mean_size"].mean() < 20


@pytest.fixture(scope="module")
def digits():
    """Honest answers, by folds, for scikit-learn's scanned digits of which only every third row is seen."""
    data = load_digits()
    seen = data.images[:, ::3].reshape(len(data.images), -1)
    model = LogisticRegression(C=1e-3, max_iter=200)
    logs = cross_val_predict(model, seen, data.target, cv=5, method="predict_log_proba")
    collector = PredictionsBuilder([str(digit) for digit in range(10)])
    collector.add([str(row) for row in range(len(logs))], data.target, logs)
    return collector.finish()


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")  # answers need be honest, not the best
@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_promise_is_kept_on_real_pictures(digits, penalty):
    accuracy = digits.correct.mean()
    low, high = (over_random_splits(digits, penalty=penalty, coverage=promised)["coverage"] for promised in (0.8, 0.98))
    assert high.mean() == pytest.approx(0.98, abs=0.01)
    assert high.std() < 0.03
    assert low.mean() + 0.01 >= accuracy > 0.8  # a set holds its label, which alone keeps the lower promise


@pytest.mark.parametrize("penalty", PENALTIES)
def test_sparse_sets_are_the_dense_ones(make_predictions, penalty):
    dense = make_predictions(400, 40, signal=4)
    sparse = make_predictions(400, 40, signal=4, dense_classes=10, largest=30)
    rules = [conformal.calibrate(one, penalty=penalty, temperature=0.9) for one in (dense, sparse)]
    assert rules[0].threshold == pytest.approx(rules[1].threshold, abs=1e-4)
    one, other = (rule.sets(predictions) for rule, predictions in zip(rules, (dense, sparse), strict=True))
    assert (one != other).sum() <= 4


def test_a_served_picture_gets_the_same_set(make_predictions):
    predictions = make_predictions(50, 6)
    rule = conformal.calibrate(predictions, temperature=1.3)
    stored = conformal.SetRule.from_dict(rule.to_dict())
    sets = rule.sets(predictions).toarray()
    for row in (0, 7, 31):
        (codes,) = stored.choose(predictions.logits[[row]], predictions.ids[[row]])
        assert set(codes) == set(np.flatnonzero(sets[row]))
        assert (np.diff(predictions.logits[row, codes]) <= 0).all()


def test_agrees_with_mapie(make_predictions):
    mapie = pytest.importorskip("mapie.classification")
    from sklearn.base import BaseEstimator, ClassifierMixin

    class AsGiven(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(10)

        def fit(self, x, y):
            return self

        def __sklearn_is_fitted__(self):
            return True

        def predict_proba(self, x):
            return x

        def predict(self, x):
            return x.argmax(axis=1)

    val, test = make_predictions(2_000, 10, seed=1), make_predictions(2_000, 10, seed=2)
    theirs = mapie.SplitConformalClassifier(AsGiven(), 0.9, "aps", prefit=True, random_state=0)
    theirs.conformalize(val.probabilities(), val.labels)
    options = {"conformity_score_params": {"include_last_label": "randomized"}}
    their_sets = theirs.predict_set(test.probabilities(), **options)[1][:, :, 0]
    our_sets = conformal.calibrate(val, penalty=0.0).sets(test)
    assert our_sets.sum() / 2_000 == pytest.approx(their_sets.sum() / 2_000, rel=0.05)


def test_the_summary_counts(make_predictions):
    predictions = make_predictions(100, 5)
    everything = replace(conformal.calibrate(predictions), threshold=2.0)
    figures = conformal.set_summary(everything.sets(predictions), predictions)
    assert figures == {"coverage": 1, "mean_size": 5, "median_size": 5, "single": 0}


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("builder", [{}, {"dense_classes": 10, "largest": 20}])
def test_a_set_that_would_be_empty_is_the_label(make_predictions, penalty, builder):
    predictions = make_predictions(100, 30, signal=2.0, **builder)
    nothing = replace(conformal.calibrate(predictions, penalty=penalty), threshold=-1.0)
    sets = nothing.sets(predictions)
    assert sets.indices.tolist() == predictions.predicted.tolist()
    figures = conformal.set_summary(sets, predictions)
    assert figures == {
        "coverage": predictions.correct.mean(), "mean_size": 1, "median_size": 1, "single": 1,
    }  # fmt: skip


def test_promises_that_cannot_be_kept(make_predictions):
    few = make_predictions(8, 3)
    with pytest.raises(BadInput, match="8 val pictures cannot promise 90% coverage: it takes at least 9"):
        conformal.calibrate(few)
    with pytest.raises(BadInput, match="between 0 and 1"):
        conformal.calibrate(few, coverage=1.0)
    blind = make_predictions(100, 60, signal=0, dense_classes=10, largest=10)
    with pytest.raises(BadInput, match="the 10 likeliest classes"):
        conformal.calibrate(blind)
    with pytest.raises(BadInput, match="format_version 9"):
        conformal.SetRule.from_dict({"format_version": 9})
