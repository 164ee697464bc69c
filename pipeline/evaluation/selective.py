"""The reject option: answer only where the network is sure, and say how much is then left and how good it is.

Geifman and El-Yaniv 2017, "Selective Classification for Deep Neural Networks".
"""

import numpy as np
import pandas as pd

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
