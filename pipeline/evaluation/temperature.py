"""The temperature that mends probabilities that do not mean what they say."""

import numpy as np
from scipy.optimize import minimize_scalar

from pipeline.predictions.predictions import Predictions

TEMPERATURES = (0.05, 20.0)


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


def _doubted_loss(true_log_probability: np.ndarray) -> float:
    doubt = 1 / (len(true_log_probability) + 2)
    surely = np.minimum(true_log_probability, -np.finfo(float).eps)  # so that doubt stays finite
    return -float(np.mean((1 - doubt) * surely + doubt * np.log(-np.expm1(surely))))
