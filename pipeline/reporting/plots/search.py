"""How a search went, and how each setting did."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.reporting.plots.style import BLUE, MUTED, ORANGE, new_figure, shortened, tidy

_COLUMNS = 3


def search_history(trials: pd.DataFrame, objective: str, *, lower: bool) -> Figure:
    """Each trial's value and the best so far; `trials` as of `search_page.Found`. Those that were pruned are hollow."""
    figure = new_figure(8, 3.6)
    axes = figure.subplots()
    done, pruned = (trials[trials["state"] == state] for state in ("complete", "pruned"))
    if len(pruned):
        axes.plot(pruned["trial"], pruned["value"], "o", color=MUTED, fillstyle="none", label="ended early")
    axes.plot(done["trial"], done["value"], "o", color=BLUE, markersize=5, label="trained to its end")
    best = done["value"].cummin() if lower else done["value"].cummax()
    axes.step(done["trial"], best, where="post", color=ORANGE, linewidth=1.8, label="best so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(frameon=False, labelcolor=MUTED)
    tidy(axes, xlabel="trial", ylabel=objective)
    return figure


def search_slices(trials: pd.DataFrame, keys: list[str], log: set[str], objective: str) -> Figure:
    """Each key's values against what the trials that came to their end scored; keys of `log` on such an axis."""
    rows = -(-len(keys) // _COLUMNS)
    figure = new_figure(3.2 * min(_COLUMNS, len(keys)), 2.9 * rows)
    done = trials[trials["state"] == "complete"]
    for axes, key in zip(figure.subplots(rows, min(_COLUMNS, len(keys)), squeeze=False).flat, keys, strict=False):
        there = done.dropna(subset=[key])
        values = there[key]
        if pd.api.types.is_numeric_dtype(values.infer_objects()):
            axes.plot(values.astype(float), there["value"], "o", color=BLUE, alpha=0.6, markersize=5)
            if key in log:
                axes.set_xscale("log")
        else:
            names = sorted(set(map(str, values)))
            axes.plot(
                [names.index(str(one)) for one in values], there["value"], "o", color=BLUE, alpha=0.6, markersize=5
            )
            axes.set_xticks(range(len(names)), shortened(names, 14), rotation=30 if len(names) > 3 else 0)
            axes.margins(x=0.2)
        tidy(axes, title=shortened([key], 30)[0], ylabel=objective)
    for axes in figure.axes[len(keys) :]:
        axes.set_visible(False)
    return figure
