"""All that can be said of predictions: figures with intervals, calibration, prediction sets, where it errs."""

from dataclasses import dataclass, field

import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.evaluation.calibration import expected_calibration_error
from pipeline.evaluation.conformal import calibrate, set_summary
from pipeline.evaluation.confusion import most_confused
from pipeline.evaluation.depth import Tree, answered, by_rank, depth_figures, thresholds, wrong_up_to
from pipeline.evaluation.metrics import summary
from pipeline.evaluation.selective import coverage_curve
from pipeline.evaluation.statistics import interval_of_share
from pipeline.evaluation.taxonomy import error_summary, rank_accuracy, without_row
from pipeline.evaluation.temperature import fit_temperature
from pipeline.predictions.predictions import Predictions


@dataclass(frozen=True)
class Assessment:
    """Figures by name, tables by file name, and notes: what could not be said and why, what is easily misread."""

    figures: dict[str, float]
    tables: dict[str, pd.DataFrame]
    temperature: float | None = None
    notes: list[str] = field(default_factory=list)


def assess(
    predictions: Predictions,
    val: Predictions | None,
    taxonomy: pd.DataFrame | None = None,
    coverage: float = 0.9,
    error: float = 0.05,
) -> Assessment:
    """`val` (other pictures, answered the same way) gives the temperature and the thresholds of sets and ranks.

    Of no predictions nothing is said.
    """
    if not len(predictions):
        return Assessment({}, {}, notes=["no picture is of a class that the network knows"])
    figures = summary(predictions)
    interval = interval_of_share(predictions.correct)
    figures |= {"accuracy_low": interval.low, "accuracy_high": interval.high}
    tables = {"most_confused": most_confused(predictions), "answered": _thinned(coverage_curve(predictions))}
    notes = []
    if taxonomy is not None:
        notes = _of_unknown_kin(taxonomy)
        tables |= {"rank_accuracy": rank_accuracy(predictions, taxonomy)}
        tables |= {"taxonomy_errors": error_summary(predictions, taxonomy)}
    if val is None:
        return Assessment(figures, tables, None, [*notes, "calibration and prediction sets need val predictions"])
    temperature = fit_temperature(val)
    after = predictions.at_temperature(temperature)
    figures |= {
        "ece_calibrated": expected_calibration_error(after),
        "log_loss_calibrated": -float(after.true_log_probability.mean()),
    }
    ranked, table, unsaid = _ranked(after, val.at_temperature(temperature), taxonomy, error)
    figures, tables, notes = figures | ranked, tables | table, notes + unsaid
    try:
        rule = calibrate(val, coverage=coverage, temperature=temperature)
    except BadInput as problem:
        return Assessment(figures, tables, temperature, [*notes, f"no prediction sets: {problem}"])
    sets = set_summary(rule.sets(predictions), predictions)
    percent = f"{100 * coverage:g}"
    figures |= {f"coverage_{percent}": sets["coverage"], f"set_size_{percent}": sets["mean_size"]}
    notes += _of_a_low_promise(coverage, figures["accuracy"])
    return Assessment(figures, tables, temperature, notes)


def _ranked(
    predictions: Predictions, val: Predictions, taxonomy: pd.DataFrame | None, error: float
) -> tuple[dict[str, float], dict[str, pd.DataFrame], list[str]]:
    """Figures, tables and notes of answers at the rank that is sure, both at the temperature."""
    tree = Tree.of(predictions.classes, taxonomy)
    try:
        (threshold,) = thresholds(wrong_up_to(tree, val), [error])
    except BadInput as problem:
        return {}, {}, [f"no answers at the rank that is sure: {problem}"]
    found = answered(tree, predictions, threshold)
    return depth_figures(found, error), {"answers_by_rank": by_rank(found)}, []


def _of_unknown_kin(taxonomy: pd.DataFrame) -> list[str]:
    """How many classes figures by rank leave out."""
    lacking = without_row(taxonomy).sum()
    return [f"{lacking} of {len(taxonomy)} classes have no row in the taxonomy: no figure by rank has them"] * bool(
        lacking
    )


def _of_a_low_promise(coverage: float, accuracy: float) -> list[str]:
    """Why sets hold the true class more often than promised: a set has its label at least."""
    if accuracy <= coverage:
        return []
    return [
        f"one label alone is right in {accuracy:.1%}, more often than the {coverage:.0%} promised, so nearly every set "
        "is that label: evaluation.coverage above that gives fuller ones"
    ]


def _thinned(curve: pd.DataFrame, most: int = 500) -> pd.DataFrame:
    """A curve of many steps as some of them, both ends among these."""
    if len(curve) <= most:
        return curve
    return curve.iloc[[round(place * (len(curve) - 1) / (most - 1)) for place in range(most)]]
