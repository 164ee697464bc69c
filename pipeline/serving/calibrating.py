"""A calibration read off val: a temperature, thresholds of sets and of ranks, as far as val supports them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.evaluation.conformal import calibrate, true_scores
from pipeline.evaluation.depth import Tree, thresholds, wrong_up_to
from pipeline.evaluation.temperature import fit_temperature
from pipeline.predictions.pooling import pool
from pipeline.predictions.predictions import Predictions
from pipeline.serving.calibration import Calibration

PERCENTS = range(50, 100)  # the coverages that are kept
FEWEST_GROUPS = 20  # that a calibration of groups is made on
ERRORS = range(1, 51)  # the shares of wrong answers, in percent, that are


def calibrated_on(val: Predictions, taxonomy: pd.DataFrame | None = None) -> Calibration:
    """The calibration that val supports: only what so many pictures can promise."""
    temperature = fit_temperature(val)
    depths = depths_on(val.at_temperature(temperature), taxonomy)
    seen = np.bincount(val.labels, minlength=len(val.classes)) + 1  # no class is impossible
    shares = tuple((seen / seen.sum()).tolist())
    try:
        rule = calibrate(val, coverage=PERCENTS[0] / 100, temperature=temperature)
    except BadInput:
        return Calibration(temperature, depths=depths, shares=shares)
    scores = np.sort(true_scores(val.at_temperature(temperature), rule.penalty, rule.free_ranks))
    places = {percent: int(np.ceil(round((len(val) + 1) * percent / 100, 9))) for percent in PERCENTS}
    kept = tuple(
        (percent, float(scores[place - 1]))
        for percent, place in places.items()
        if place <= len(val) and np.isfinite(scores[place - 1])
    )
    return Calibration(temperature, rule, kept, depths, shares)


def calibrated_on_groups(
    val: Predictions, names: Sequence[str | None], taxonomy: pd.DataFrame | None = None
) -> Calibration | None:
    """That of answers to groups of several pictures, which val's `names` (n,) tell; None where there are too few."""
    pooled = pool(val, names)
    sizes = pd.Series(names, dtype=object).dropna().astype(str).value_counts()
    several = pooled.take(np.isin(pooled.ids, sizes.index[sizes > 1].to_numpy(dtype=object)))
    return calibrated_on(several, taxonomy) if len(several) >= FEWEST_GROUPS else None


def depths_on(val: Predictions, taxonomy: pd.DataFrame | None) -> tuple[tuple[int, float], ...]:
    """The thresholds of answers at the rank that is sure, by percent of wrong ones, of val at its temperature."""
    percents = [percent for percent in ERRORS if (len(val) + 1) * percent >= 100]
    wrong = wrong_up_to(Tree.of(val.classes, taxonomy), val)
    return tuple(zip(percents, thresholds(wrong, [percent / 100 for percent in percents]), strict=True))
