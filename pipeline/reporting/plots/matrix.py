"""The confusion matrix as a picture that can be read at 2, 100 and 10,000 classes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.evaluation.confusion import among, by_group, most_confused, table
from pipeline.evaluation.taxonomy import grouping
from pipeline.predictions.predictions import Predictions
from pipeline.reporting.plots.style import BLUE, EMPTY, INK, MUTED, SHADES, new_figure, shortened, tidy

READABLE_CLASSES = 60
NUMBERED_CLASSES = 25
PAIRS = 25


def confusion(
    predictions: Predictions,
    *,
    taxonomy: pd.DataFrame | None = None,
    normalise: bool = True,
    title: str = "",
) -> Figure:
    """The confusion matrix: true classes down, predicted ones across.

    Up to `READABLE_CLASSES` classes all are shown. Above, the matrix is by taxonomic group (the finest rank
    with few enough groups) or, without a `taxonomy` (a row a class, indexed by class name), of the classes
    confused most; beside it stand the `PAIRS` worst pairs. `normalise` shades by the share of each true
    class, otherwise by pictures. Shading grows faster near zero, so that rare mistakes stay visible.
    """
    predictions.check_usable()
    if len(predictions.classes) <= READABLE_CLASSES:
        square = table(predictions)
        figure = new_figure(*_size(len(square)), title)
        _draw(figure.subplots(), square, normalise, "")
        return figure
    square, name = _condensed(predictions, taxonomy)
    width, height = _size(len(square))
    figure = new_figure(width + 6, max(height, 7), title)
    left, right = figure.subplots(1, 2, width_ratios=[width, 5])
    _draw(left, square, normalise, name)
    _draw_pairs(right, most_confused(predictions, PAIRS))
    return figure


def _condensed(predictions: Predictions, taxonomy: pd.DataFrame | None) -> tuple[pd.DataFrame, str]:
    """A square small enough to read, and what it shows."""
    groups = None if taxonomy is None else grouping(taxonomy.loc[predictions.classes], READABLE_CLASSES)
    if groups is not None:
        square = by_group(predictions, groups)
        return square, f"By {groups.name}: {len(predictions.classes):,} classes in {len(square)} groups"
    pairs = most_confused(predictions, READABLE_CLASSES // 2)
    confused = list(pd.unique(pairs[["true", "predicted"]].to_numpy().ravel())) or predictions.classes
    square = among(predictions, confused[: READABLE_CLASSES // 2])
    return square, f"The {len(square)} classes confused most, of {len(predictions.classes):,}"


def _size(count: int) -> tuple[float, float]:
    side = float(np.clip(0.27 * count, 3.5, 15))
    return side + 2.4, side + 1.6


def _draw(axes: Axes, square: pd.DataFrame, normalise: bool, name: str) -> None:
    counted = square.to_numpy(dtype=float)
    totals = counted.sum(axis=1, keepdims=True)
    shares = np.divide(counted, totals, out=np.full_like(counted, np.nan), where=totals > 0)
    top = 1.0 if normalise else max(counted.max(), 1.0)
    values = shares if normalise else counted
    axes.imshow(values, cmap=SHADES, norm=PowerNorm(0.5, 0.0, top), interpolation="nearest", aspect="equal")
    unit = "% of each true class" if normalise else "pictures"
    if normalise and len(square) <= NUMBERED_CLASSES:
        unit += ", pictures below"
    tidy(axes, xlabel="predicted", ylabel="true", title=name, grid=False)
    axes.set_title(unit, loc="right", color=MUTED, fontsize=9)
    _name_ticks(axes, square)
    _rule_off(axes, *square.shape)
    if len(square) <= NUMBERED_CLASSES:
        _number(axes, values, top, counted if normalise else None)


def _name_ticks(axes: Axes, square: pd.DataFrame) -> None:
    rows, columns = np.arange(square.shape[0]), np.arange(square.shape[1])
    size = float(np.clip(400 / max(len(square), 1), 6.5, 10))
    long = max(len(str(name)) for name in square.columns) * len(square) > 40
    axes.set_xticks(columns, shortened(list(square.columns)), fontsize=size, rotation=90 if long else 0)
    axes.set_yticks(rows, shortened(list(square.index)), fontsize=size)


def _rule_off(axes: Axes, rows: int, columns: int) -> None:
    """White lines between the cells lead the eye from a name to its cell."""
    down, across = np.arange(rows + 1) - 0.5, np.arange(columns + 1) - 0.5
    lines = [[(-0.5, place), (columns - 0.5, place)] for place in down]
    lines += [[(place, -0.5), (place, rows - 0.5)] for place in across]
    axes.add_collection(LineCollection(lines, colors=EMPTY, linewidths=0.8), autolim=False)  # ticks cost ten times it


def _number(axes: Axes, values: np.ndarray, top: float, counted: np.ndarray | None) -> None:
    """Write the value into each cell that is not empty; shares in percent, without the sign, the `counted` below."""
    size = float(np.clip(140 / len(values), 6, 12))
    for row, column in zip(*np.nonzero(np.nan_to_num(values)), strict=True):
        value = values[row, column]
        color = "white" if np.sqrt(value / top) > 0.5 else INK
        if counted is None:
            axes.text(column, row, f"{value:,.0f}", ha="center", va="center", fontsize=size, color=color)
            continue
        axes.text(column, row - 0.14, _percent(value), ha="center", va="center", fontsize=size, color=color)
        below = f"{counted[row, column]:,.0f}"
        axes.text(column, row + 0.27, below, ha="center", va="center", fontsize=0.65 * size, color=color)


def _percent(share: float) -> str:
    return "<1" if share < 0.01 else f"{100 * share:.0f}"


def _draw_pairs(axes: Axes, pairs: pd.DataFrame) -> None:
    tidy(axes, xlabel="pictures", title="Worst pairs: true → predicted", grid=False)
    if pairs.empty:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no mistakes", ha="center", transform=axes.transAxes, color=MUTED)
        return
    places = np.arange(len(pairs))
    axes.barh(places, pairs["pictures"], color=BLUE, height=0.62)
    names = [
        f"{true} → {answer}"
        for true, answer in zip(shortened(pairs["true"], 24), shortened(pairs["predicted"], 24), strict=True)
    ]
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.set_ylim(max(len(pairs), 10) - 0.4, -0.6)
    notes = [f"{n:,} ({share:.0%})" for n, share in zip(pairs["pictures"], pairs["share"], strict=True)]
    for place, count, note in zip(places, pairs["pictures"], notes, strict=True):
        axes.annotate(note, (count, place), (4, 0), textcoords="offset points", va="center", fontsize=8, color=MUTED)
    axes.set_xlim(0, pairs["pictures"].max() * 1.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
