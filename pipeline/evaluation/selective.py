"""The reject option: answer only where the network is sure, and say how much is then left and how good it is.

Geifman and El-Yaniv 2017, "Selective Classification for Deep Neural Networks".
"""

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.predictions.predictions import Predictions


def coverage_curve(predictions: Predictions) -> pd.DataFrame:
    """Accuracy among the answered pictures, for each confidence below which one could refuse to answer.

    One row a distinct confidence, the highest first: `threshold` (answer from this confidence on), `answered`
    (share of pictures), `accuracy` (of those).
    """
    predictions.check_usable()
    order = np.argsort(-predictions.confidence, kind="stable")
    confidence, correct = predictions.confidence[order], predictions.correct[order]
    last = np.flatnonzero(np.append(np.diff(confidence) < 0, True))
    answered = last + 1
    return pd.DataFrame(
        {
            "threshold": confidence[last],
            "answered": answered / len(predictions),
            "accuracy": np.cumsum(correct)[last] / answered,
        }
    )


def threshold_for(val: Predictions, accuracy: float) -> float:
    """The least confidence from which answers on `val` are right at least that often (chosen on val).

    BadInput where not even the surest answers are.
    """
    curve = coverage_curve(val)
    enough = curve[curve["accuracy"] >= accuracy]
    if enough.empty:
        best = curve["accuracy"].max()
        raise BadInput(f"no confidence gives {accuracy:.0%} accuracy on val: ask for {best:.0%} or less")
    return float(enough["threshold"].iloc[-1])


def answered(predictions: Predictions, threshold: float) -> dict[str, float]:
    """At a threshold: the share `answered`, and the `accuracy` of those (NaN where nothing is answered)."""
    sure = predictions.confidence >= threshold
    accuracy = float(predictions.correct[sure].mean()) if sure.any() else float("nan")
    return {"answered": float(sure.mean()), "accuracy": accuracy}


def area_under_risk(predictions: Predictions) -> float:
    """Mean error among the answered over all shares answered (AURC); 0 is best, surest answers first."""
    order = np.argsort(-predictions.confidence, kind="stable")
    wrong = np.cumsum(~predictions.correct[order])
    return float(np.mean(wrong / np.arange(1, len(predictions) + 1)))
