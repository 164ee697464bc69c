import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common.errors import BadInput
from pipeline.evaluation import selective as rejection


@settings(max_examples=30, deadline=None)
@given(pictures=st.integers(1, 60), seed=st.integers(0, 999))
def test_each_point_of_the_curve_is_what_its_threshold_gives(make_predictions, pictures, seed):
    predictions = make_predictions(pictures, 4, seed=seed)
    for point in rejection.coverage_curve(predictions).itertuples():
        figures = rejection.answered(predictions, point.threshold)
        assert figures["answered"] == pytest.approx(point.answered)
        assert figures["accuracy"] == pytest.approx(point.accuracy)
    assert point.answered == 1
    assert point.accuracy == pytest.approx(predictions.correct.mean())


def test_a_threshold_keeps_its_accuracy_on_val(make_predictions):
    predictions = make_predictions(500, 4)
    threshold = rejection.threshold_for(predictions, 0.9)
    figures = rejection.answered(predictions, threshold)
    assert figures["accuracy"] >= 0.9
    assert 0 < figures["answered"] < 1
    assert np.isnan(rejection.answered(predictions, 1.1)["accuracy"])


def test_an_accuracy_out_of_reach(make_predictions):
    predictions = make_predictions(50, 4)
    wrong = predictions.take(~predictions.correct)
    with pytest.raises(BadInput, match="ask for 0% or less"):
        rejection.threshold_for(wrong, 0.5)


def test_being_sure_of_the_right_ones_makes_the_area_small(make_predictions):
    predictions = make_predictions(500, 4)
    area = rejection.area_under_risk(predictions)
    assert 0 < area < 1 - predictions.correct.mean()
    assert rejection.area_under_risk(predictions.take(predictions.correct)) == 0
