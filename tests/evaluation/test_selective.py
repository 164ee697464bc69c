import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation import selective as rejection


@settings(max_examples=30, deadline=None)
@given(pictures=st.integers(1, 60), seed=st.integers(0, 999))
def test_each_point_of_the_curve_is_what_its_threshold_gives(make_predictions, pictures, seed):
    predictions = make_predictions(pictures, 4, seed=seed)
    for point in rejection.coverage_curve(predictions).itertuples():
        sure = predictions.confidence >= point.threshold
        figures = {"answered": sure.mean(), "accuracy": predictions.correct[sure].mean()}
        assert figures["answered"] == pytest.approx(point.answered)
        assert figures["accuracy"] == pytest.approx(point.accuracy)
    assert point.answered == 1
    assert point.accuracy == pytest.approx(predictions.correct.mean())
