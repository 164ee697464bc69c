"""Whether a probability means what it says: calibration error, and the temperature that mends it."""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from pipeline.predictions.predictions import Predictions

BINS = 15
TEMPERATURES = (0.05, 20.0)


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


def fit_temperature(val: Predictions) -> float:
    """The temperature that gives `val` its least log loss; 1 where val cannot tell it from 1.

    Dividing logits by one number changes no answer (Guo et al. 2017). While it is sought one label of n + 2 is
    doubted, as Platt (1999) does: without a mistake in val the sharpest probabilities would always look best.
    It is kept if it lowers the loss by more than that is uncertain by.
    Sparse: the rest's share is an estimate (see `Rest.at_temperature`).
    """
    val.check_usable()

    def doubted_loss(log_temperature: float) -> float:
        return _doubted_loss(val.at_temperature(np.exp(log_temperature)).true_log_probability)

    found = minimize_scalar(doubted_loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-4})
    temperature = float(np.exp(found.x))
    gains = val.at_temperature(temperature).true_log_probability - val.true_log_probability
    return temperature if gains.mean() > gains.std() / np.sqrt(len(gains)) else 1.0


def changes_nothing(temperature: float) -> bool:
    """Whether it is 1.00, as it is printed: probabilities stay as they are."""
    return round(temperature, 2) == 1


def _doubted_loss(true_log_probability: np.ndarray) -> float:
    doubt = 1 / (len(true_log_probability) + 2)
    surely = np.minimum(true_log_probability, -np.finfo(float).eps)  # so that doubt stays finite
    return -float(np.mean((1 - doubt) * surely + doubt * np.log(-np.expm1(surely))))
