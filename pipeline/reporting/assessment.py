"""An assessment to look at: its figures as a table, its files in a run's folder."""

from pathlib import Path

import pandas as pd

from pipeline.data.files import write_csv
from pipeline.evaluation.assessment import Assessment
from pipeline.evaluation.calibration import changes_nothing
from pipeline.predictions.predictions import Predictions
from pipeline.reporting.plots import answered_accuracy, reliability_diagram
from pipeline.reporting.run_report import write_report
from pipeline.reporting.tables import Table

_SHARES = ("top5_accuracy", "balanced_accuracy", "macro_f1", "weighted_f1")


def summary_table(found: Assessment) -> Table:
    """Names and figures, as people read them."""
    figures = found.figures
    if "accuracy" not in figures:
        return Table(["", ""], [])
    low, high = 100 * figures["accuracy_low"], 100 * figures["accuracy_high"]
    rows = [
        ("accuracy", f"{100 * figures['accuracy']:.2f} %   95 %: {low:.2f} to {high:.2f}"),
        ("always the most frequent class", f"{100 * figures['majority_accuracy']:.2f} %"),
    ]
    rows += [(name.replace("_", " "), f"{100 * figures[name]:.2f} %") for name in _SHARES if name in figures]
    for title, name in (("calibration error", "ece"), ("log loss", "log_loss")):
        rows.append((title, f"{figures[name]:.4f}{_calibrated(found, name)}"))
    for name, value in figures.items():
        if name.startswith("coverage_"):
            percent = name.removeprefix("coverage_")
            said = f"hold {100 * value:.1f} %, {figures[f'set_size_{percent}']:.2f} classes on average"
            rows.append((f"prediction sets of {percent} %", said))
        if name.startswith("rank_error_"):
            percent = name.removeprefix("rank_error_")
            full = 100 * figures[f"rank_full_{percent}"]
            said = f"{100 * value:.1f} % wrong, {full:.1f} % name the class, the others a higher rank or none"
            rows.append((f"answers of at most {percent} % errors", said))
        if name.startswith("known_sent_away_"):
            percent = name.removeprefix("known_sent_away_")
            rows.append((f"called unknown, at most {percent} % promised", f"{100 * value:.1f} %"))
    return Table(["", ""], rows)


def _calibrated(found: Assessment, name: str) -> str:
    if found.temperature is None:
        return ""
    if changes_nothing(found.temperature):
        return "   stays as it is (temperature 1.00)"
    return f"   after temperature {found.temperature:.2f}: {found.figures[f'{name}_calibrated']:.4f}"


def write_assessment(
    folder: Path, split: str, predictions: Predictions, found: Assessment, taxonomy: pd.DataFrame | None = None
) -> None:
    """The files of an assessment: what every run leaves, and `reliability.png`, `answered.png`, a CSV a table."""
    write_report(folder, {split: predictions}, taxonomy=taxonomy)
    if found.temperature is None:
        versions = {"as it is": predictions}
    elif changes_nothing(found.temperature):
        versions = {"as it is, temperature 1.00": predictions}
    else:
        after = predictions.at_temperature(found.temperature)
        versions = {"as it is": predictions, f"temperature {found.temperature:.2f}": after}
    reliability_diagram(versions).savefig(folder / "reliability.png")
    answered_accuracy({split: predictions}).savefig(folder / "answered.png")
    for name, table in found.tables.items():
        write_csv(table, folder / f"{name}.csv")
