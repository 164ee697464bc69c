"""Learning curves."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.reporting.plots.style import BLUE, MUTED, new_figure, tidy

History: TypeAlias = pd.DataFrame | Iterable[Mapping[str, Any]]


def curves(history: History, title: str = "") -> Figure:
    """Loss and accuracy by epoch: train dashed, val solid, the best epoch by val accuracy marked.

    `history` has a row an epoch with `epoch`, `train/loss`, `train/accuracy`, `val/loss`, `val/accuracy`;
    a column that is missing is left out of the figure.
    """
    epochs = as_table(history)
    margins = {"left": 0.08, "right": 0.985, "bottom": 0.13, "top": 0.82 if title else 0.91, "wspace": 0.2}
    figure = new_figure(10, 4, title, margins)
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        _line(axes, epochs, f"train/{measure}", linestyle="--", color=MUTED, label="train")
        _line(axes, epochs, f"val/{measure}", linestyle="-", color=BLUE, label="val")
        tidy(axes, xlabel="epoch", title=measure.capitalize())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if measure == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        note = _mark_best(axes, epochs, measure)
        axes.legend(frameon=False, labelcolor=MUTED, title=note, alignment="left", title_fontsize=9)
    return figure


def as_table(history: History) -> pd.DataFrame:
    """A row an epoch, whichever way the history came."""
    return history if isinstance(history, pd.DataFrame) else pd.DataFrame(list(history))


def _line(axes: Axes, epochs: pd.DataFrame, column: str, **style: Any) -> None:
    if column in epochs:
        axes.plot(epochs["epoch"], epochs[column], linewidth=2, marker=lone(epochs), **style)


def lone(epochs: pd.DataFrame) -> str:
    """The marker of a curve: a dot where there is one epoch alone, as a line of one point is invisible."""
    return "o" if len(epochs) == 1 else ""


def _mark_best(axes: Axes, epochs: pd.DataFrame, measure: str) -> str:
    """Put a dot at the epoch whose weights are kept, on the val curve of either panel; say its value."""
    if not {"val/accuracy", f"val/{measure}"} <= set(epochs) or epochs["val/accuracy"].isna().all():
        return ""
    best = epochs.loc[epochs["val/accuracy"].idxmax()]
    value = best[f"val/{measure}"]
    axes.plot(best["epoch"], value, "o", color=BLUE, markersize=8, markeredgecolor="white", zorder=5)
    shown = f"{value:.2%}" if measure == "accuracy" else f"{value:.3f}"
    return f"best epoch {best['epoch']:g}: val {shown}"
