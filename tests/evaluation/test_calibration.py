import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from pipeline.evaluation.calibration import expected_calibration_error, reliability
from pipeline.evaluation.temperature import fit_temperature
from pipeline.predictions.builder import PredictionsBuilder


def honest(pictures=4_000, classes=10, seed=0, **builder):
    """Answers whose probabilities are the truth: labels are drawn from them."""
    chance = np.random.default_rng(seed)
    logits = 2 * chance.normal(size=(pictures, classes))
    labels = (logits + chance.gumbel(size=logits.shape)).argmax(axis=1)
    collector = PredictionsBuilder([str(code) for code in range(classes)], **builder)
    collector.add([str(row) for row in range(pictures)], labels, logits)
    return collector.finish()


def test_honest_probabilities_have_little_error():
    assert expected_calibration_error(honest()) < 0.025


@pytest.mark.parametrize("builder", [{}, {"dense_classes": 5, "largest": 20}])
@pytest.mark.parametrize("temperature", [0.6, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature, builder):
    spoilt = honest(classes=60, **builder).at_temperature(1 / temperature)
    found = fit_temperature(spoilt)
    assert found == pytest.approx(temperature, rel=0.12)
    assert expected_calibration_error(spoilt.at_temperature(found)) < expected_calibration_error(spoilt)


def test_a_temperature_changes_no_answer(make_predictions):
    predictions = make_predictions()
    np.testing.assert_array_equal(predictions.at_temperature(3.0).predicted, predictions.predicted)


@settings(max_examples=30, deadline=None)
@given(pictures=st.integers(1, 200), bins=st.integers(2, 20), seed=st.integers(0, 999))
def test_reliability_agrees_with_scikit_learn(make_predictions, pictures, bins, seed):
    predictions = make_predictions(pictures, 5, seed=seed)
    table = reliability(predictions, bins)
    accuracy, confidence = calibration_curve(predictions.correct, predictions.confidence, n_bins=bins)
    np.testing.assert_allclose(table["accuracy"], accuracy)
    np.testing.assert_allclose(table["confidence"], confidence)
    assert table["pictures"].sum() == pictures
    assert ((table["low"] < table["confidence"]) & (table["confidence"] <= table["high"] + 1e-12)).all()


def test_a_sure_network_that_is_always_right_is_calibrated(make_predictions):
    predictions = make_predictions(signal=100)
    assert expected_calibration_error(predictions) == pytest.approx(0.0, abs=1e-6)
    assert np.isfinite(fit_temperature(predictions))


def test_probabilities_that_are_right_already_stay_as_they_are():
    assert fit_temperature(honest(1_000, 4)) == 1.0


def test_a_timid_vote_that_is_always_right_gets_sure_but_not_certain():
    """Every picture right with 70 %: val has no mistake, and still can say that 70 % is too little."""
    builder = PredictionsBuilder(["a", "b"])
    builder.add([str(row) for row in range(60)], np.arange(60) % 2, np.log([[0.7, 0.3], [0.3, 0.7]] * 30))
    val = builder.finish()
    sure = val.at_temperature(fit_temperature(val)).confidence
    np.testing.assert_allclose(sure, 61 / 62, atol=1e-3)  # Platt's target


def test_a_few_pictures_that_are_all_right_move_no_sure_network():
    builder = PredictionsBuilder(["a", "b"])
    builder.add(list("xyz"), np.array([0, 1, 0]), np.array([[5.0, 0], [0, 4.0], [9.0, 0]]))
    assert fit_temperature(builder.finish()) == 1.0
