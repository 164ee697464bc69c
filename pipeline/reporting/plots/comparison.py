"""Figures of several runs: their curves together, and quality against cost."""

from collections.abc import Mapping
from itertools import cycle
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from pipeline.comparison.effects import pareto
from pipeline.reporting.plots.learning import History, as_table, lone
from pipeline.reporting.plots.style import COLOURS, MUTED, new_figure, shortened, tidy

STYLES: dict[str, Literal["--", "-"]] = {"train": "--", "val": "-"}


def curves_together(histories: Mapping[str, History], title: str = "") -> Figure:
    """Loss and accuracy by epoch of a few runs: a colour a run, train dashed, val solid.

    `histories` has for each run's name what `curves` takes.
    """
    figure = new_figure(10, 4.4, title)
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for colour, history in zip(cycle(COLOURS), histories.values(), strict=False):
            epochs = as_table(history)
            for split, style in STYLES.items():
                if (column := f"{split}/{measure}") in epochs:
                    axes.plot(epochs["epoch"], epochs[column], style, color=colour, linewidth=1.8, marker=lone(epochs))
        tidy(axes, xlabel="epoch", title=measure.capitalize())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if measure == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    named = zip(cycle(COLOURS), histories, strict=False)
    handles = [Line2D([], [], color=colour, label=name) for colour, name in named]
    handles += [Line2D([], [], color=MUTED, linestyle=style, label=split) for split, style in STYLES.items()]
    columns = 2 if max(map(len, histories), default=0) > 24 else 5
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, frameon=False, labelcolor=MUTED)
    return figure


def error_by_size(classes: pd.DataFrame, title: str = "") -> Figure:
    """The share of wrong answers of each class against how many pictures of it were trained on.

    `classes` as of `pipeline.comparison.by_class.error_by_training_size`; a dot is as large as its class has pictures.
    """
    figure = new_figure(7.2, 4.2, title)
    axes = figure.subplots()
    size = 12 + 90 * classes["pictures"] / classes["pictures"].max()
    axes.scatter(classes["trained"], classes["error"], s=size, color=COLOURS[0], alpha=0.6, linewidths=0)
    worst = classes.nlargest(3, "error").drop_duplicates(["trained", "error"])  # two names on one dot cannot be read
    for _, row in worst[worst["error"] > 0].iterrows():
        name = shortened([row["class"]], 28)[0]
        axes.annotate(name, (row["trained"], row["error"]), (6, 4), textcoords="offset points", fontsize=8, color=MUTED)
    low, high = classes["trained"].min(), classes["trained"].max()
    if low > 0 and high / low >= 10:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,g}")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.margins(x=0.15, y=0.12)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    tidy(axes, xlabel="training pictures of the class", ylabel="wrong answers")
    return figure


def cost_and_quality(
    runs: pd.DataFrame, cost: str, quality: str, *, low: str = "", high: str = "", place: str = "", title: str = ""
) -> Figure:
    """Quality against cost, a dot a run, those that nobody beats on both named and joined.

    `runs` as in `pipeline.comparison.effects`, indexed by name; `low` and `high` name the columns of
    the interval's ends, if there are any; with a column `place` (in a ranking) that stands at the dot, and the
    names below the figure, where they cover nothing. Costs that differ tenfold or more are on a logarithmic axis.
    """
    figure = new_figure(7.2, 4.8, title)
    axes = figure.subplots()
    best = pareto(runs, cost, quality)
    front = runs[best].sort_values(cost)
    if low and high:
        axes.vlines(runs[cost], runs[low], runs[high], color=MUTED, alpha=0.3, linewidth=2)
    axes.plot(runs.loc[~best, cost], runs.loc[~best, quality], "o", color=MUTED, alpha=0.6)
    axes.plot(front[cost], front[quality], "o-", color=COLOURS[0], linewidth=1.5, drawstyle="steps-post")
    marks = [str(mark) for mark in (front[place] if place else front.index)]
    for mark, x, y in zip(marks, front[cost], front[quality], strict=True):
        axes.annotate(mark, (x, y), (7, -13), textcoords="offset points", color=COLOURS[0], fontsize=9)
    if place:
        names = [f"{mark}  {name}" for mark, name in zip(marks, shortened(list(front.index), 70), strict=True)]
        handles = [Line2D([], [], color=COLOURS[0], marker="o", linestyle="", label=name) for name in names]
        figure.legend(handles=handles, loc="outside lower left", frameon=False, labelcolor=MUTED, fontsize=9)
    if runs[cost].min() > 0 and runs[cost].max() / runs[cost].min() >= 10:
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" ") if runs[cost].max() >= 10_000 else "{x:,g}")
    axes.margins(x=0.15, y=0.12)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    tidy(axes, xlabel=cost, ylabel=quality)
    return figure
