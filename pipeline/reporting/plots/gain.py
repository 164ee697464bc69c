"""What others gain over one run, with intervals."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pipeline.reporting.plots.style import BLUE, MUTED, ORANGE, new_figure, shortened, tidy


def gains(table: pd.DataFrame, *, best: str, chosen: str, split: str = "test", title: str = "") -> Figure:
    """A row a member or strategy, as `table` has them: its gain in accuracy over `best`, in percentage points.

    `table` has the columns `name`, `kind` (member or strategy), `gain`, `low` and `high`; members are grey,
    strategies blue, the one that was `chosen` orange.
    """
    figure = new_figure(8, 1.3 + 0.32 * len(table), title)
    axes = figure.subplots()
    axes.axvline(0, color=MUTED, linewidth=1, linestyle="--")
    for place, row in enumerate(table.to_dict("records")):
        colour = ORANGE if row["name"] == chosen else BLUE if row["kind"] == "strategy" else MUTED
        if row["name"] == best:
            axes.plot(0, place, "D", color=MUTED, markersize=6)
            continue
        axes.hlines(place, row["low"], row["high"], color=colour, linewidth=2, alpha=0.6)
        axes.plot(row["gain"], place, "o", color=colour, markersize=6)
    names = shortened([str(name) for name in table["name"]], 44)
    axes.set_yticks(range(len(table)), names)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:+.1f}"))
    tidy(
        axes,
        xlabel=f"accuracy on {split} over that of {shortened([best], 40)[0]} (points, 95 % interval)",
        title="Best by val first",
    )
    return figure
