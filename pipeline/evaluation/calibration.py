"""Whether a probability means what it says: calibration error."""

import numpy as np
import pandas as pd

from pipeline.predictions.predictions import Predictions

BINS = 15


def reliability(predictions: Predictions, bins: int = BINS) -> pd.DataFrame:
    """Confidence against accuracy, in `bins` equal widths of the predicted class's probability.

    One row a bin that holds pictures: `low`, `high` (its ends; a confidence falls in (low, high]),
    `pictures`, `confidence` and `accuracy` (means within it). Guo et al. 2017, "On Calibration of Modern
    Neural Networks".
    """
    return _binned(predictions.confidence, predictions.correct, bins)


def _binned(confidence: np.ndarray, correct: np.ndarray, bins: int) -> pd.DataFrame:
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    pictures = np.bincount(place, minlength=bins)
    held = np.flatnonzero(pictures)

    def mean(values: np.ndarray) -> np.ndarray:  # pandas groups the same in ten times as long
        return np.bincount(place, weights=values, minlength=bins)[held] / pictures[held]

    return pd.DataFrame({
        "low": edges[held], "high": edges[held + 1], "pictures": pictures[held],
        "confidence": mean(confidence), "accuracy": mean(correct),
    })  # fmt: skip


def expected_calibration_error(predictions: Predictions, bins: int = BINS) -> float:
    """Mean distance between confidence and accuracy over the bins of `reliability`, weighted by pictures."""
    return calibration_error(predictions.confidence, predictions.correct, bins)


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """The same of any n probabilities (n,), and of whether what they were of came true (n,)."""
    table = _binned(confidence, correct, bins)
    gap = (table["confidence"] - table["accuracy"]).abs()
    return float(np.average(gap, weights=table["pictures"]))


def changes_nothing(temperature: float) -> bool:
    """Whether it is 1.00, as it is printed: probabilities stay as they are."""
    return round(temperature, 2) == 1
