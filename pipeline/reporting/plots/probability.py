"""Whether probabilities can be believed, and what is gained by answering only where they are high."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pipeline.evaluation.calibration import BINS, expected_calibration_error, reliability
from pipeline.evaluation.selective import coverage_curve
from pipeline.predictions.predictions import Predictions
from pipeline.reporting.plots.style import COLOURS, GRID, MUTED, new_figure, tidy


def reliability_diagram(versions: Mapping[str, Predictions], title: str = "") -> Figure:
    """Accuracy against confidence, a panel a version ("before", "after temperature 1.31").

    Bars above the diagonal are too modest, below too sure; the shade of a bar says how many pictures it
    stands for. Guo et al. 2017.
    """
    figure = new_figure(0.6 + 4.2 * len(versions), 4.4, title)
    panels = figure.subplots(1, len(versions), sharey=True, squeeze=False)[0]
    for axes, (name, predictions) in zip(panels, versions.items(), strict=True):
        _bars(axes, predictions)
        error = expected_calibration_error(predictions)
        tidy(axes, xlabel="confidence", title=f"{name}: calibration error {error:.3f}")
    panels[0].set_ylabel("accuracy", color=MUTED)
    return figure


def _bars(axes: Axes, predictions: Predictions) -> None:
    table = reliability(predictions, BINS)
    shares = (table["pictures"] / table["pictures"].max()).to_numpy()
    width = 1.0 / BINS
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--", zorder=3)
    bars = axes.bar(table["low"], table["accuracy"], width, align="edge", color=COLOURS[0], edgecolor="white")
    for bar, share in zip(bars, shares, strict=True):
        bar.set_alpha(0.15 + 0.85 * float(np.sqrt(share)))
    axes.plot(table["confidence"], table["accuracy"], "o", color=COLOURS[1], markersize=5, zorder=4)
    axes.vlines(table["confidence"], table["confidence"], table["accuracy"], color=COLOURS[1], zorder=4)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def answered_accuracy(runs: Mapping[str, Predictions], title: str = "") -> Figure:
    """Accuracy of the answered pictures against their share, surest first; a line a run."""
    figure = new_figure(6.4, 4.4, title)
    axes = figure.subplots()
    for number, (name, predictions) in enumerate(runs.items()):
        curve = coverage_curve(predictions)
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(curve["answered"], curve["accuracy"], color=colour, linewidth=2, label=name)
        axes.plot(1.0, curve["accuracy"].iloc[-1], "o", color=colour, clip_on=False)
    tidy(axes, xlabel="pictures answered, surest first", ylabel="accuracy of those answered")
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.axvline(1.0, color=GRID)
    axes.legend(frameon=False, labelcolor=MUTED)
    return figure
