import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common.errors import BadInput
from pipeline.evaluation import metrics


@pytest.mark.filterwarnings("ignore:A single label was found", "ignore:y_pred contains classes")  # so there are
@settings(max_examples=40, deadline=None)
@given(pictures=st.integers(1, 80), classes=st.integers(2, 12), seed=st.integers(0, 9999))
def test_agrees_with_scikit_learn(make_predictions, pictures, classes, seed):
    predictions = make_predictions(pictures, classes, seed=seed)
    figures = metrics.summary(predictions)
    truth, answer = predictions.labels, predictions.predicted
    expected = {
        "accuracy": reference.accuracy_score(truth, answer),
        "macro_f1": reference.f1_score(truth, answer, average="macro"),
        "weighted_f1": reference.f1_score(truth, answer, average="weighted"),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, answer),
        "log_loss": reference.log_loss(truth, predictions.probabilities(), labels=range(classes)),
    }
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert ("top5_accuracy" in figures) == (classes >= 6)


@settings(max_examples=30, deadline=None)
@given(pictures=st.integers(1, 50), k=st.integers(1, 7), seed=st.integers(0, 9999))
def test_top_k_agrees_with_scikit_learn_also_when_sparse(make_predictions, pictures, k, seed):
    dense = make_predictions(pictures, 20, seed=seed)
    expected = reference.top_k_accuracy_score(dense.labels, dense.logits, k=k, labels=range(20))
    assert metrics.top_k_accuracy(dense, k) == pytest.approx(expected)
    sparse = make_predictions(pictures, 20, seed=seed, dense_classes=10, largest=7)
    assert metrics.top_k_accuracy(sparse, k) == pytest.approx(expected)


def test_a_top_k_that_was_not_kept(make_predictions):
    sparse = make_predictions(9, 20, dense_classes=10, largest=6)
    with pytest.raises(BadInput, match="the 6 likeliest"):
        metrics.top_k_accuracy(sparse, 7)
    with pytest.raises(BadInput, match="starts at 1"):
        metrics.top_k_accuracy(sparse, 0)


def test_sparse_and_dense_have_the_same_summary(make_predictions):
    dense = metrics.summary(make_predictions(200, 30))
    sparse = metrics.summary(make_predictions(200, 30, dense_classes=10, largest=8))
    assert sparse == pytest.approx(dense, abs=1e-5)


def test_majority_accuracy_is_the_share_of_the_most_frequent_class(make_predictions):
    predictions = make_predictions(100, 3)
    share = np.bincount(predictions.labels).max() / 100
    assert metrics.summary(predictions)["majority_accuracy"] == pytest.approx(share)


def test_a_class_that_is_never_shown_has_no_recall(make_predictions):
    predictions = make_predictions(50, 4)
    predictions = predictions.take(predictions.labels != 2)
    report = metrics.class_report(predictions).set_index("class")
    assert report.loc["species 2", "pictures"] == 0
    assert np.isnan(report.loc["species 2", "recall"])
    assert report["pictures"].sum() == len(predictions)
    assert report["predicted"].sum() == len(predictions)
    assert np.isfinite(list(metrics.summary(predictions).values())).all()


def test_nothing_to_score(make_predictions):
    with pytest.raises(BadInput, match="no picture"):
        metrics.summary(make_predictions().take(np.array([], dtype=int)))
