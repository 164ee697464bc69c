"""What makes a served model's answers believable: a temperature, and thresholds of prediction sets, read off val."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.common.errors import BadInput
from pipeline.evaluation.calibration import fit_temperature
from pipeline.evaluation.conformal import SetRule, calibrate, true_scores
from pipeline.predictions.predictions import Predictions

PERCENTS = range(50, 100)  # the coverages that are kept


@dataclass(frozen=True)
class Calibration:
    """`temperature` divides the logits; `thresholds` are those of the prediction sets, by coverage in percent."""

    temperature: float = 1.0
    sets: SetRule | None = None
    thresholds: tuple[tuple[int, float], ...] = ()

    def set_rule(self, coverage: float) -> SetRule:
        """The rule of sets that hold the true class at least so often: the next whole percent that is kept.

        BadInput where none is.
        """
        if not 0 < coverage < 1:
            raise BadInput(f"coverage={coverage}: a share between 0 and 1, such as 0.9")
        for percent, threshold in self.thresholds:
            if self.sets is not None and percent >= round(100 * coverage, 6):
                return replace(self.sets, coverage=percent / 100, threshold=threshold)
        most = f"at most {self.thresholds[-1][0] / 100}" if self.thresholds else "none, for want of val pictures"
        raise BadInput(f"coverage={coverage} cannot be promised by this model: {most}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        sets = None
        if self.sets is not None:
            sets = {"rule": self.sets.to_dict(), "thresholds": [list(pair) for pair in self.thresholds]}
        return {"temperature": self.temperature, "sets": sets}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Calibration":
        """The inverse of `to_dict`."""
        sets = plain["sets"]
        if sets is None:
            return cls(plain["temperature"])
        thresholds = tuple((int(percent), float(threshold)) for percent, threshold in sets["thresholds"])
        return cls(plain["temperature"], SetRule.from_dict(sets["rule"]), thresholds)


def calibrated_on(val: Predictions) -> Calibration:
    """The calibration that val supports: only the coverages that so many pictures can promise."""
    temperature = fit_temperature(val)
    try:
        rule = calibrate(val, coverage=PERCENTS[0] / 100, temperature=temperature)
    except BadInput:
        return Calibration(temperature)
    scores = np.sort(true_scores(val.at_temperature(temperature), rule.penalty, rule.free_ranks))
    places = {percent: int(np.ceil(round((len(val) + 1) * percent / 100, 9))) for percent in PERCENTS}
    thresholds = tuple(
        (percent, float(scores[place - 1]))
        for percent, place in places.items()
        if place <= len(val) and np.isfinite(scores[place - 1])
    )
    return Calibration(temperature, rule, thresholds)
