"""The page of a comparison: what was ranked, what it shows, and the figures for it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from pipeline.common.wording import counted, duration, number, p_value, percent, signed
from pipeline.comparison.effects import JOIN, effects, grid, varied
from pipeline.comparison.ranking import Ranking
from pipeline.config.keys import REPEATS
from pipeline.evaluation.statistics import MEASURED
from pipeline.reporting.figures import svg
from pipeline.reporting.page import render, save
from pipeline.reporting.plots import cost_and_quality, curves_together
from pipeline.reporting.plots.style import shortened
from pipeline.reporting.tables import Table

CERTAIN = 0.05
_SHORT = 70  # characters of a name in a figure


@dataclass(frozen=True)
class Group:
    """Runs on the same pictures: their ranking and what is read off it.

    `runs` has a row a run and `keys` its columns of choices; `tests` the pairs of leaders by split; `histories` the
    best rows' learning curves; `by_rank` accuracies (val, test) by rank of the taxonomy and row; `why_apart` says
    why these are not ranked with the first group; `corrected` is the best row's val accuracy without the luck of
    having been chosen.
    """

    ranking: Ranking
    runs: pd.DataFrame
    keys: list[str]
    baseline: dict[str, Any]
    why_apart: str
    tests: dict[str, pd.DataFrame]
    histories: dict[str, pd.DataFrame]
    by_rank: dict[str, dict[str, list[float]]]
    run_names: dict[str, str]
    corrected: float | None = None

    @property
    def answers(self) -> list[str]:
        """The choices in which its rows differ."""
        return list(self.ranking.rows[0].answers) or ["run"]

    @property
    def has_test(self) -> bool:
        """Whether every row was scored on test."""
        table = self.ranking.table
        return "test_accuracy" in table and bool(table["test_accuracy"].notna().all())

    @property
    def digits(self) -> int:
        """How many decimals of a percentage the pictures allow."""
        return 2 if self.ranking.table["n_val"].max() >= 10_000 else 1

    def effects(self) -> pd.DataFrame:
        """Which choice mattered, seeds beside them as the measure of chance."""
        return effects(self.runs, self.keys, "val accuracy")

    def grid(self) -> pd.DataFrame | None:
        """Val accuracy by network and regime, where either varies."""
        if len(varied(self.runs, ["model", "regime"])) == 0:
            return None
        return grid(self.runs, "val accuracy")

    @property
    def test_name(self) -> str:
        """Which test sets the leaders against each other."""
        return "McNemar" if "only_one" in self.tests["val"] else "corrected resampled t-test"

    def findings(self) -> list[str]:
        """The comparison in a few sentences."""
        table = self.ranking.table
        best = table.iloc[0]
        said = f"Best on val: {best['name']}, {self._beside_chance('val')}"
        if self.has_test:
            said += f"; on test {self._beside_chance('test')}"
        lines = [f"{said}."]
        if self.corrected is not None:
            lines.append(
                f"Corrected for its being the best of {len(table)} on these pictures, its val accuracy is "
                f"about {percent(self.corrected, self.digits)}; that val chose each run's epoch too still flatters it."
            )
        if len(table) > 1:
            lines.append(self._certainty(str(best["name"])))
        return lines + self._what_mattered()

    def _beside_chance(self, split: str) -> str:
        """The best row's accuracy beside what the most frequent class would score on the same pictures."""
        best, digits = self.ranking.table.iloc[0], self.digits
        said = percent(best[f"{split}_accuracy"], digits)
        if best["splits"] > 1:
            low, high = (f"{100 * best[f'{split}_{end}']:.{digits}f}" for end in ("min", "max"))
            said += f" as the mean of {best['splits']:.0f} splits ({low} to {high})"
        return f"{said} (always {self.baseline['class']}: {percent(self.baseline[f'{split}_accuracy'], digits)})"

    def _what_mattered(self) -> list[str]:
        """The choice with the largest effect, beside what seeds alone do."""
        effects = self.effects()
        by_choice = effects.drop_duplicates("choice").set_index("choice")["range"]
        chance = by_choice[[set(key.split(JOIN)) <= set(REPEATS) for key in by_choice.index]]
        choices = by_choice.drop(chance.index)
        if choices.empty:
            return []
        first, found = choices.index[0], float(choices.iloc[0])
        answers = effects[effects["choice"] == first]
        top = answers.loc[answers["effect"].idxmax(), "answer"]
        line = f"What mattered most: {first} ({100 * found:.1f} points between its best and worst answer; {top} is best"
        if not chance.empty:
            said = "no more than" if found <= chance.max() else "against"
            line += f"; {said} the {100 * chance.max():.1f} of {chance.idxmax()}, which is chance"
        if JOIN in first:
            line += "; what each of these did cannot be told, as they vary only together"
        return [f"{line})."]

    def _certainty(self, best: str) -> str:
        """Whether the leader is really ahead of the others."""
        tests = self.tests["val"]
        rivals = tests[(tests["one"] == best) | (tests["other"] == best)]
        if rivals.empty:
            return "Its rivals were scored on other pictures: no paired test can be made."
        how = f"{self.test_name}, Holm"
        open_ = rivals[rivals["p_holm"] >= CERTAIN]
        largest = p_value(float(rivals["p_holm"].max()))
        if open_.empty:
            ahead = f"its {len(rivals)} nearest rivals" if len(rivals) > 1 else "its only rival"
            return f"On val it is ahead of {ahead} by more than chance ({how}; largest p {largest})."
        how_many = f"{len(open_)} of its {len(rivals)} nearest rivals" if len(rivals) > 1 else "its only rival"
        return f"On val {how_many} cannot be told from it ({how}; largest p {largest})."

    def pairs(self) -> list[tuple[str, str, dict[str, Any]]]:
        """The tested pairs with their figures by split; the one ahead on val is named first."""
        found: dict[frozenset[str], dict[str, Any]] = {}
        order = {row.name: place for place, row in enumerate(self.ranking.rows)}
        for split, tests in self.tests.items():
            for _, test in tests.iterrows():
                found.setdefault(frozenset((test["one"], test["other"])), {})[split] = test
        named = []
        for pair, tests in found.items():
            ahead, behind = sorted(pair, key=order.__getitem__)
            named.append((ahead, behind, tests))
        return sorted(named, key=lambda pair: (order[pair[0]], order[pair[1]]))

    def curves(self) -> Figure | None:
        """Learning curves of the best three."""
        known = {}
        for place, row in enumerate(self.ranking.rows, start=1):
            if len(self.histories.get(row.name, ())):  # its place tells names apart that are cut alike
                known[f"{place}  {shortened([row.name], _SHORT)[0]}"] = self.histories[row.name]
        return curves_together(known) if known else None

    def cost_figures(self) -> list[Figure]:
        """Val accuracy against time and, where it differs, against parameters."""
        table = self.ranking.table.assign(place=range(1, len(self.ranking.rows) + 1)).set_index("name")
        unit, factor = ("s", 60.0) if table["minutes"].max() < 2 else ("min", 1.0)
        time = f"time ({unit})"
        renamed = table.rename(columns={"val_accuracy": "val accuracy"})
        renamed[time] = factor * renamed["minutes"]
        costs = [time, *(["parameters"] if table["parameters"].nunique() > 1 else [])]
        return [
            cost_and_quality(
                renamed.dropna(subset=[cost]), cost, "val accuracy", low="val_low", high="val_high", place="place"
            )
            for cost in costs
        ]


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
            line.append(with_interval(figures, split, digits))
            line += [percent(figures[f"{split}_sd"], digits)] if several else []
        line += [f"{figures['n']:.0f}"] if several else []
        costs = [duration(figures["minutes"]), number(figures["images_per_second"]), number(figures["parameters"])]
        body.append(line + costs)
    last = [f"always {group.baseline['class']}"] + [""] * (len(group.answers) - 1)
    for split in splits:
        last += [percent(group.baseline.get(f"{split}_accuracy"), digits), *([""] if several else [])]
    body.append(last + [""] * (len(heads) - len(last)))
    return Table(heads, body, heads[len(group.answers) :])


def with_interval(figures: "pd.Series[Any]", split: str, digits: int = 1) -> str:
    """`86.7 % [82.3, 90.3]`."""
    low, high = (f"{100 * figures[f'{split}_{end}']:.{digits}f}" for end in ("low", "high"))
    return f"{percent(figures[f'{split}_accuracy'], digits)} [{low}, {high}]"


def note(comparison: Comparison) -> str:
    """The leaderboards as Markdown, for MLflow's run page."""
    parts = []
    for group in comparison.groups:
        apart = f"**Apart: {group.why_apart}**\n\n" if group.why_apart else ""
        parts.append(apart + leaderboard(group).markdown())
    return "\n\n".join(parts)


def write_page(path: Path, comparison: Comparison) -> None:
    """Write the page as one HTML file."""
    words = (counted, duration, number, p_value, percent, shade, signed, svg)
    title = f"Comparison: {comparison.title}"
    html = render(
        "comparison.html.j2",
        title=title,
        comparison=comparison,
        measured=MEASURED,
        **{word.__name__: word for word in words},
    )
    save(html, path)


def shade(value: float, table: pd.DataFrame) -> float:
    """How strongly a cell of the grid is coloured: 0 for the least value of the table, 1 for the greatest."""
    low, high = float(table.min().min()), float(table.max().max())
    return 0.5 if high == low else (value - low) / (high - low)
