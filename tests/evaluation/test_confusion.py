import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from pipeline.common.errors import BadInput
from pipeline.evaluation import confusion


@settings(max_examples=30, deadline=None)
@given(pictures=st.integers(1, 80), classes=st.integers(2, 9), seed=st.integers(0, 999))
def test_counts_agree_with_scikit_learn(make_predictions, pictures, classes, seed):
    predictions = make_predictions(pictures, classes, seed=seed)
    expected = confusion_matrix(predictions.labels, predictions.predicted, labels=range(classes))
    np.testing.assert_array_equal(confusion.counts(predictions).toarray(), expected)
    np.testing.assert_array_equal(confusion.table(predictions).to_numpy(), expected)


def test_many_classes_make_a_list_of_pairs(make_predictions):
    predictions = make_predictions(300, 1_500, signal=3)
    pairs = confusion.table(predictions)
    assert list(pairs) == ["true", "predicted", "pictures"]
    assert pairs["pictures"].sum() == 300
    right = pairs.loc[pairs["true"] == pairs["predicted"], "pictures"].sum()
    assert right == predictions.correct.sum()


def test_worst_pairs_come_first(make_predictions):
    predictions = make_predictions(300, 5)
    worst = confusion.most_confused(predictions, 4)
    square = confusion.table(predictions).to_numpy().copy()
    shown = square.sum(axis=1)
    np.fill_diagonal(square, 0)
    assert len(worst) == 4
    assert worst["pictures"].iloc[0] == square.max()
    assert worst["pictures"].is_monotonic_decreasing
    true = predictions.classes.index(worst["true"].iloc[0])
    assert worst["share"].iloc[0] == pytest.approx(square.max() / shown[true])


def test_no_mistakes_make_no_pairs(make_predictions):
    assert confusion.most_confused(make_predictions(signal=50)).empty


def test_by_group_adds_up_the_classes_of_a_group(make_predictions):
    predictions = make_predictions(100, 4)
    groups = pd.Series(["gulls", "terns", "gulls", None], index=predictions.classes, name="family")
    square = confusion.by_group(predictions, groups)
    assert list(square) == ["gulls", "terns", "(none)"]
    full = confusion.table(predictions).to_numpy()
    assert square.loc["gulls", "terns"] == full[[0, 2], 1].sum()
    assert square.to_numpy().sum() == 100
    with pytest.raises(BadInput, match="no row for species 3"):
        confusion.by_group(predictions, groups.iloc[:3])


def test_among_a_few_classes_nothing_is_lost(make_predictions):
    predictions = make_predictions(100, 6)
    square = confusion.among(predictions, ["species 4", "species 1"])
    assert list(square) == ["species 4", "species 1", "(other)"]
    np.testing.assert_array_equal(square.sum(axis=1), np.bincount(predictions.labels)[[4, 1]])
