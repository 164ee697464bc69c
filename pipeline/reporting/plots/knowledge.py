"""What is known of classes as a graph: pairs of them, and between these the attributes that tell them apart."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reporting.plots.style import BLUE, INK, MUTED, ORANGE, new_figure, shortened

_MOST = 6  # attributes of a pair
_WIDEST = 6.0  # points, of an edge of all pictures


def told_apart(pairs: Sequence[tuple[str, str, str]], shares: pd.DataFrame, title: str = "") -> Figure:
    """A row a pair of classes with what is said of it; the wider an edge, the more pictures show its attribute.

    `shares` (classes, attributes), by names as people read them, NaN where nothing is known.
    """
    figure = new_figure(11, 0.6 + 2.0 * len(pairs), title)
    for axes, (one, other, said) in zip(figure.subplots(len(pairs), squeeze=False)[:, 0], pairs, strict=True):
        _pair(axes, shares.loc[[one, other]], said)
    return figure


def _pair(axes: Axes, shares: pd.DataFrame, said: str) -> None:
    apart = shares.iloc[0].sub(shares.iloc[1])
    apart = apart[apart.abs() > 0]  # what is known, and not the same of both
    telling = apart[apart.abs().nlargest(_MOST).index].sort_values(ascending=False).index  # of the one first
    heights = np.linspace(1, 0, len(telling))
    for name, place, colour, side in zip(
        shortened(list(shares.index)), (0, 2), (BLUE, ORANGE), ("right", "left"), strict=True
    ):
        axes.text(place, 0.5, f" {name} ", ha=side, va="center", color=colour, fontweight="bold")
    for height, name, words in zip(heights, telling, shortened(list(telling), 40), strict=True):
        axes.text(1, height, words, ha="center", va="center", color=INK, fontsize=9)
        for row, (place, end, colour) in enumerate(((0, 0.4, BLUE), (2, 1.6, ORANGE))):
            share = float(shares[name].iloc[row])
            axes.plot(
                [place, end], [0.5, height], color=colour, linewidth=_WIDEST * share, alpha=0.6, solid_capstyle="butt"
            )
            axes.text(
                end,
                height,
                f" {100 * share:.0f} % ",
                ha="left" if row == 0 else "right",
                va="center",
                color=MUTED,
                fontsize=7,
            )
    if telling.empty:
        axes.text(1, 0.5, "by no attribute that is known of both", ha="center", va="center", color=MUTED, fontsize=9)
    axes.set_title(said, loc="left", color=MUTED, fontsize=9)
    axes.set_xlim(-0.9, 2.9)
    axes.set_ylim(-0.15, 1.15)
    axes.axis("off")
