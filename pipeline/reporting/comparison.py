"""A comparison to look at: leaderboards in the terminal and as Markdown, and a page with all that they show."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from pipeline.common.wording import counted, duration, number, p_value, percent, signed
from pipeline.comparison.group import CERTAIN, Group
from pipeline.data.files import write_csv
from pipeline.evaluation.statistics import MEASURED
from pipeline.reporting.figures import svg
from pipeline.reporting.page import render, save
from pipeline.reporting.plots import cost_and_quality, curves_together, error_by_size
from pipeline.reporting.plots.style import shortened
from pipeline.reporting.tables import Table

PAGE = "comparison.html"
_SHOWN = 20  # rows in the terminal; the page has all
_SHORT = 70  # characters of a name in a figure


@dataclass
class Comparison:
    """All groups, the largest first; `left_out` says why a run is in none; `looks`: the most that any test had.

    `facts` are lines for the page's foot: when, by what and of which pictures it was made.
    """

    title: str
    groups: list[Group]
    left_out: dict[str, str] = field(default_factory=dict)
    looks: int = 0
    facts: list[str] = field(default_factory=list)


def leaderboard(group: Group) -> Table:
    """A row a choice, the majority class last."""
    table, digits = group.ranking.table, group.digits
    several = bool((table["n"] > 1).any())
    splits = ["val", "test"] if group.has_test else ["val"]
    heads = [*group.answers]
    for split in splits:
        heads += [f"{split} (95 %)", *(["sd"] if several else [])]
    heads += [*(["n"] if several else []), "time", "pictures/s", "parameters"]
    body = []
    for row, (_, figures) in zip(group.ranking.rows, table.iterrows(), strict=True):
        line = list(row.answers.values()) or [row.name]
        for split in splits:
            low, high = (f"{100 * figures[f'{split}_{end}']:.{digits}f}" for end in ("low", "high"))
            line.append(f"{percent(figures[f'{split}_accuracy'], digits)} [{low}, {high}]")
            line += [percent(figures[f"{split}_sd"], digits)] if several else []
        line += [f"{figures['n']:.0f}"] if several else []
        costs = [duration(figures["minutes"]), number(figures["images_per_second"]), number(figures["parameters"])]
        body.append(line + costs)
    last = [f"always {group.baseline['class']}"] + [""] * (len(group.answers) - 1)
    for split in splits:
        last += [percent(group.baseline.get(f"{split}_accuracy"), digits), *([""] if several else [])]
    body.append(last + [""] * (len(heads) - len(last)))
    return Table(heads, body, heads[len(group.answers) :])


def show(screen: Console, comparison: Comparison) -> None:
    """The leaderboards in the terminal, and what is to be known about them."""
    groups = comparison.groups
    if len(groups) > 1:
        screen.print(f"{len(groups)} groups of runs on different data or splits: they are not ranked together")
    for place, group in enumerate(groups, start=1):
        if group.why_apart:
            screen.print(f"\ngroup {place}: {group.why_apart}")
        table = leaderboard(group)
        rows = table.rows[:-1]  # the last is the most frequent class, of which the findings tell
        spare = ("parameters", "pictures/s", "time", "sd", "n")
        left_out = replace(table, rows=rows[:_SHOWN]).show(screen, spare=spare)
        for line in [*_not_shown(group, left_out, len(rows)), *group.findings()]:
            screen.print(line)


def _not_shown(group: Group, left_out: list[str], rows: int) -> list[str]:
    """What is to be said of the columns, rows and runs that a leaderboard does not show."""
    notes = []
    if left_out:
        notes.append(f"for want of room without {', '.join(left_out)}; the page has all")
    if rows > _SHOWN:
        notes.append(f"the first {_SHOWN} of {rows} are shown; the page has all")
    if older := len(group.ranking.older):
        verb = "is" if older == 1 else "are"
        notes.append(f"{counted(older, 'earlier run')} of the same config and seed {verb} not counted again")
    return notes


def note(comparison: Comparison) -> str:
    """The leaderboards as Markdown, for MLflow's run page."""
    parts = []
    for group in comparison.groups:
        apart = f"**Apart: {group.why_apart}**\n\n" if group.why_apart else ""
        parts.append(apart + leaderboard(group).markdown())
    return "\n\n".join(parts)


def write_comparison(folder: Path, comparison: Comparison, disagreements: str = "") -> bytes:
    """Write a leaderboard as CSV for each group, and the page, which is given back.

    `disagreements` is the page of the photographs that the leaders answer differently, where there is one.
    """
    for place, group in enumerate(comparison.groups, start=1):
        write_csv(group.ranking.table, folder / (f"leaderboard{place}.csv" if place > 1 else "leaderboard.csv"))
    words = (cost_figures, counted, curves, duration, error_by_size, number, p_value, percent, shade, signed, svg)
    html = render(
        "comparison.html.j2",
        title=f"Comparison: {comparison.title}",
        comparison=comparison,
        measured=MEASURED,
        certain=CERTAIN,
        disagreements=disagreements,
        **{word.__name__: word for word in words},
    )
    return save(html, folder / PAGE).read_bytes()


def curves(group: Group) -> Figure | None:
    """Learning curves of the best rows; None where no run has more than one epoch."""
    if all(len(history) < 2 for history in group.histories.values()):
        return None
    known = {}
    for place, row in enumerate(group.ranking.rows, start=1):
        if len(group.histories.get(row.name, ())):  # its place tells names apart that are cut alike
            known[f"{place}  {shortened([row.name], _SHORT)[0]}"] = group.histories[row.name]
    return curves_together(known)


def cost_figures(group: Group) -> list[Figure]:
    """Val accuracy against time and, where it differs, against parameters."""
    table = group.ranking.table.assign(place=range(1, len(group.ranking.rows) + 1)).set_index("name")
    unit, factor = ("s", 60.0) if table["minutes"].max() < 2 else ("min", 1.0)
    time = f"time ({unit})"
    table = table.rename(columns={"val_accuracy": "val accuracy"}).assign(**{time: factor * table["minutes"]})
    costs = [time, *(["parameters"] if table["parameters"].nunique() > 1 else [])]
    ends = {"low": "val_low", "high": "val_high", "place": "place"}
    return [cost_and_quality(table.dropna(subset=[cost]), cost, "val accuracy", **ends) for cost in costs]


def shade(value: float, table: pd.DataFrame) -> float:
    """How strongly a cell of the grid is coloured: 0 for the least value of the table, 1 for the greatest."""
    low, high = float(table.min().min()), float(table.max().max())
    return 0.5 if high == low else (value - low) / (high - low)
