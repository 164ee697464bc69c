"""How good predictions are, in numbers: one summary a split, and one report a class."""

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.evaluation.calibration import expected_calibration_error
from pipeline.predictions.predictions import Predictions

TOP5_FROM = 6
FIGURES = (  # of `summary`
    "accuracy", "macro_f1", "weighted_f1", "balanced_accuracy", "log_loss", "ece", "majority_accuracy",
    "top5_accuracy",
)  # fmt: skip


def summary(predictions: Predictions) -> dict[str, float]:
    """The figures of a split, each a share between 0 and 1 but `log_loss` (nats a picture).

    `accuracy`, `top5_accuracy` (from six classes up), `macro_f1` and `weighted_f1` (over the classes that
    occur as a truth or an answer, as scikit-learn has it), `balanced_accuracy` (over the classes that occur
    as a truth), `log_loss`, `ece`, and beside them `majority_accuracy`: what always answering the most
    frequent class would have scored. Raises BadInput for NaN or no pictures.
    """
    predictions.check_usable()
    hits, shown, said = _counts(predictions)
    f1 = 2 * hits / np.maximum(shown + said, 1)
    figures = {
        "accuracy": predictions.correct.mean(),
        "macro_f1": f1[shown + said > 0].mean(),
        "weighted_f1": np.average(f1, weights=shown),
        "balanced_accuracy": (hits[shown > 0] / shown[shown > 0]).mean(),
        "log_loss": -predictions.true_log_probability.mean(),
        "ece": expected_calibration_error(predictions),
        "majority_accuracy": shown.max() / len(predictions),
    }
    if len(predictions.classes) >= TOP5_FROM:
        figures["top5_accuracy"] = top_k_accuracy(predictions, 5)
    return {name: float(value) for name, value in figures.items()}


def top_k_accuracy(predictions: Predictions, k: int) -> float:
    """Share of pictures whose true class is among the k likeliest; sparse: k up to `LARGEST`."""
    if k < 1:
        raise BadInput(f"top-{k} makes no sense: k starts at 1")
    if predictions.is_sparse and k >= predictions.logits.shape[1]:
        most = predictions.logits.shape[1] - 1
        raise BadInput(f"top-{k} was not kept: these predictions hold the {most} likeliest classes a picture")
    return float((predictions.true_rank() < k).mean())


def class_report(predictions: Predictions) -> pd.DataFrame:
    """One row a class, in the classes' order.

    Columns: `class`, `pictures` (of it), `predicted` (how often it was the answer), `precision`, `recall`,
    `f1`; a figure that has no meaning (a class never shown, or never answered) is missing, not zero.
    """
    predictions.check_usable()
    hits, shown, said = _counts(predictions)
    with np.errstate(invalid="ignore"):
        precision, recall, f1 = hits / said, hits / shown, 2 * hits / (shown + said)
    return pd.DataFrame(
        {
            "class": predictions.classes,
            "pictures": shown,
            "predicted": said,
            "precision": precision,
            "recall": recall,
            "f1": f1,
        }
    )


def _counts(predictions: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A class each: how often it was the answer and right, how often shown, how often the answer."""
    truth, answer, size = predictions.labels, predictions.predicted, len(predictions.classes)
    right = truth[truth == answer]
    hits, shown, said = (np.bincount(codes, minlength=size) for codes in (right, truth, answer))
    return hits, shown, said
