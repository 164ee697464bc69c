import pandas as pd
import pytest

from pipeline.evaluation.assessment import assess
from pipeline.reporting.assessment import write_assessment


def test_figures_calibration_and_sets_are_there_and_written(make_predictions, tmp_path):
    val, test = make_predictions(200, 4, seed=1), make_predictions(300, 4, seed=2)
    taxonomy = pd.DataFrame({"order": ["a", "a", "b", "b"], "species": list("wxyz")}, index=test.classes)
    found = assess(test, val, taxonomy, coverage=0.8)
    figures = found.figures
    assert figures["accuracy_low"] < figures["accuracy"] < figures["accuracy_high"]
    assert figures["log_loss_calibrated"] == pytest.approx(
        -test.at_temperature(found.temperature).true_log_probability.mean()
    )
    assert figures["coverage_80"] == pytest.approx(0.8, abs=0.1)
    assert 1 <= figures["set_size_80"] <= 4
    write_assessment(tmp_path, "test", test, found, taxonomy)
    written = {file.name for file in tmp_path.iterdir()}
    assert {"reliability.png", "answered.png", "answered.csv", "most_confused.csv"} <= written
    assert {"rank_accuracy.csv", "taxonomy_errors.csv", "class_report.csv", "confusion_matrix.png"} <= written


def test_without_val_nothing_is_promised_and_it_is_said(make_predictions):
    found = assess(make_predictions(50, 4), None)
    assert found.temperature is None
    assert found.notes == ["calibration and prediction sets need val predictions"]
    few = assess(make_predictions(50, 4), make_predictions(5, 4, seed=3))
    assert "5 val pictures cannot promise that at most 5.00% of answers are wrong" in few.notes[0]
    assert "5 val pictures cannot promise 90%" in few.notes[1]


def test_a_promise_below_the_accuracy_is_explained(make_predictions):
    val, test = make_predictions(300, 4, seed=1, signal=3), make_predictions(300, 4, seed=2, signal=3)
    found = assess(test, val, coverage=0.8)
    assert 0.8 < found.figures["accuracy"] < 0.99
    assert found.figures["coverage_80"] >= found.figures["accuracy"]  # every set holds its label
    assert found.figures["set_size_80"] >= 1
    (note,) = found.notes
    assert "one label alone is right in" in note
    assert assess(test, val, coverage=0.99).notes == []
