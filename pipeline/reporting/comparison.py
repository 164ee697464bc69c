"""A comparison to look at: the leaderboard as a table, and a page of what was ranked and what it shows."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from pipeline.common.wording import counted, duration, number, p_value, percent, signed
from pipeline.comparison.group import CERTAIN, Group
from pipeline.data.files import write_csv
from pipeline.evaluation.statistics import MEASURED
from pipeline.reporting.figures import svg
from pipeline.reporting.page import render, save
from pipeline.reporting.plots import cost_and_quality, curves_together
from pipeline.reporting.plots.style import shortened
from pipeline.reporting.tables import Table

PAGE = "comparison.html"
_SHORT = 70  # characters of a name in a figure


@dataclass
class Comparison:
    """All groups, the largest first; `left_out` says why a run is in none; `looks`: the most that any test had."""

    title: str
    groups: list[Group]
    left_out: dict[str, str] = field(default_factory=dict)
    looks: int = 0


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


def note(comparison: Comparison) -> str:
    """The leaderboards as Markdown, for MLflow's run page."""
    parts = []
    for group in comparison.groups:
        apart = f"**Apart: {group.why_apart}**\n\n" if group.why_apart else ""
        parts.append(apart + leaderboard(group).markdown())
    return "\n\n".join(parts)


def write_comparison(folder: Path, comparison: Comparison) -> bytes:
    """Write a leaderboard as CSV for each group, and the page, which is given back."""
    for place, group in enumerate(comparison.groups, start=1):
        write_csv(group.ranking.table, folder / (f"leaderboard{place}.csv" if place > 1 else "leaderboard.csv"))
    words = (cost_figures, counted, curves, duration, number, p_value, percent, shade, signed, svg)
    html = render(
        "comparison.html.j2",
        title=f"Comparison: {comparison.title}",
        comparison=comparison,
        measured=MEASURED,
        certain=CERTAIN,
        **{word.__name__: word for word in words},
    )
    return save(html, folder / PAGE).read_bytes()


def curves(group: Group) -> Figure | None:
    """Learning curves of the best rows."""
    known = {}
    for place, row in enumerate(group.ranking.rows, start=1):
        if len(group.histories.get(row.name, ())):  # its place tells names apart that are cut alike
            known[f"{place}  {shortened([row.name], _SHORT)[0]}"] = group.histories[row.name]
    return curves_together(known) if known else None


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
