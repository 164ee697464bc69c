"""How strange a picture is to a model, by which it is told when it is of no known class.

Two signs are added, each in standard deviations over val. Doubt: how little the likeliest class stands out, which near
relatives show (Hendrycks and Gimpel 2017; of probabilities softened by twice the temperature, as Liang et al. 2018
found better). Distance: how far the features are from those of the nearest class, which things of another kind show,
of which a network may well be certain (see `pipeline.evaluation.familiar`). Which share of known pictures is stranger
than a threshold is promised as in split conformal prediction (Bates et al. 2023, "Testing for outliers with conformal
p-values").
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.evaluation.promises import Promise, Thresholds
from pipeline.predictions.predictions import Predictions

SOFTER = 2.0  # than what is calibrated
_DISTANCE = 0.5  # what a standard deviation of it counts, beside one of doubt
PERCENTS = range(1, 51)  # of known pictures sent away, for which thresholds are kept
USUAL = 0.05  # of known pictures: how many are sent away unless somebody says otherwise
_LEAST = 1e-6  # a standard deviation
_PROMISE = Promise("known_sent_away", USUAL, "to send so few known away", "it promises none")


@dataclass(frozen=True)
class Strangeness:
    """`doubt` and `distance` are mean and standard deviation over val; without features there is no distance.

    `thresholds`: by percent of known pictures that are stranger, rising.
    """

    doubt: tuple[float, float]
    distance: tuple[float, float] | None
    thresholds: Thresholds = ()

    def of(self, confidence: np.ndarray, distance: np.ndarray | None) -> np.ndarray:
        """(n,) how strange pictures are, by the largest softened probability of each and its features' distance."""
        found = _standard(1 - confidence, self.doubt)
        if self.distance is None or distance is None:
            return found
        return found + _DISTANCE * _standard(distance, self.distance)

    def sends_away(self, share: float | None) -> tuple[float, float] | None:
        """The promised share of known pictures sent away, at most `share`, and the threshold of strangeness.

        None asked: `USUAL`, else the least that can be promised, else None. BadInput where `share` cannot be.
        """
        return _PROMISE.kept(self.thresholds, share)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        distance = None if self.distance is None else list(self.distance)
        return {
            "doubt": list(self.doubt), "distance": distance, "thresholds": [list(pair) for pair in self.thresholds],
        }  # fmt: skip

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Strangeness":
        """The inverse of `to_dict`."""
        (doubt, spread), distance = plain["doubt"], plain["distance"]
        thresholds = tuple((int(percent), float(threshold)) for percent, threshold in plain["thresholds"])
        return cls((doubt, spread), None if distance is None else (distance[0], distance[1]), thresholds)


def strangeness_on(val: Predictions, distance: np.ndarray | None) -> Strangeness:
    """What val supports, by its predictions at the temperature that was fitted and its features' distance (n,)."""
    confidence = softened(val)
    found = Strangeness(_mean_and_spread(1 - confidence), None if distance is None else _mean_and_spread(distance))
    rising, thresholds = np.sort(found.of(confidence, distance)), []
    for percent in PERCENTS:
        place = int(np.ceil(round((len(rising) + 1) * (1 - percent / 100), 9)))
        if place <= len(rising):
            thresholds.append((percent, float(rising[place - 1])))
    return Strangeness(found.doubt, found.distance, tuple(thresholds))


def too_strange(strange: np.ndarray, threshold: float) -> np.ndarray:
    """(n,) whether pictures are stranger than that; what is no number is, too."""
    made: np.ndarray = ~(strange <= threshold)
    return made


def softened(predictions: Predictions) -> np.ndarray:
    """(n,) the largest softened probability, of predictions at the temperature that was fitted."""
    return predictions.at_temperature(SOFTER).confidence


def _standard(values: np.ndarray, usual: tuple[float, float]) -> np.ndarray:
    return (values - usual[0]) / usual[1]


def _mean_and_spread(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), max(float(values.std()), _LEAST)
