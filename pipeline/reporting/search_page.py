"""A search as one page: the best setting and whether fresh seeds agree, what mattered, how it went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.common.wording import counted
from pipeline.data.files import write_csv
from pipeline.reporting import page
from pipeline.reporting.charts import bars
from pipeline.reporting.figures import svg
from pipeline.reporting.page import Figure, Section
from pipeline.reporting.plots.search import search_history, search_slices

PAGE, TRIALS, IMPORTANCES = "search.html", "trials.csv", "importances.csv"


@dataclass(frozen=True)
class Confirmed:
    """The objective of the best trial, and of trainings with its settings and other seeds; of some, less is better."""

    best: float
    fresh: Sequence[float]
    lower: bool = False

    @property
    def mean(self) -> float:
        """Of the fresh seeds."""
        return float(np.mean(self.fresh))

    @property
    def flattered(self) -> float:
        """By how much the best trial looks better than its settings are with other seeds."""
        return self.mean - self.best if self.lower else self.best - self.mean

    def interval(self) -> tuple[float, float] | None:
        """Of `flattered`, at 95 %: Student's, of the mean over seeds; None of fewer than two, or all alike."""
        if len(self.fresh) < 2 or np.ptp(self.fresh) == 0:
            return None
        half = stats.t.ppf(0.975, len(self.fresh) - 1) * np.std(self.fresh, ddof=1) / np.sqrt(len(self.fresh))
        return self.flattered - float(half), self.flattered + float(half)

    def told(self) -> str:
        """In a sentence."""
        seeds = counted(len(self.fresh), "fresh seed")
        said = f"the best trial had {self.best:.4f}, {seeds} of the same settings {self.mean:.4f} on average: "
        if set(self.fresh) == {self.best}:
            return said + "the seed changes nothing here, so this says nothing of chance among val's pictures"
        if self.flattered <= 0:
            said += f"the search did not flatter itself ({self.flattered:+.4f}"
        else:
            said += f"the search flattered itself by {self.flattered:.4f} ("
        ends = self.interval()
        between = f"95 % interval {ends[0]:+.4f} to {ends[1]:+.4f}" if ends else "too few for an interval"
        return f"{said}{', ' if self.flattered <= 0 else ''}{between})"


@dataclass(frozen=True)
class Found:
    """What a search found.

    `trials` has a row a trial that counts: `trial`, `state` (complete, pruned, fail, running), `value`, `minutes`,
    `run`, and a column a key of `keys`, those of `log` drawn on a logarithmic scale. `best` is the best's overrides.
    """

    objective: str
    lower: bool
    trials: pd.DataFrame
    keys: Sequence[str]
    log: set[str]
    importances: Mapping[str, float]
    best: Sequence[str]
    confirmed: Confirmed | None
    facts: Sequence[str] = field(default_factory=tuple)


def write_search(folder: Path, found: Found) -> None:
    """The page and its tables into a folder."""
    write_csv(found.trials, folder / TRIALS)
    shares = pd.DataFrame({"key": list(found.importances), "importance": list(found.importances.values())})
    write_csv(shares, folder / IMPORTANCES)
    page.save(search_page(found), folder / PAGE)


def search_page(found: Found) -> str:
    """The page's HTML."""
    done = found.trials[found.trials["state"] == "complete"]
    value = done["value"].min() if found.lower else done["value"].max()
    figures = [Figure(f"{value:.4f}", "best trial"), Figure(f"{len(found.trials)}", "trials")]
    if pruned := int((found.trials["state"] == "pruned").sum()):
        figures.append(Figure(f"{pruned}", "ended early"))
    if confirmed := found.confirmed:
        figures.append(Figure(f"{confirmed.mean:.4f}", f"mean of {counted(len(confirmed.fresh), 'fresh seed')}"))
        figures.append(Figure(f"{confirmed.flattered:+.4f}", "flattered itself by"))
    sections = [_best(found), _mattered(found, len(done)), _history(found), _trials(found)]
    return page.page("Search", found.objective, figures, sections)


def _best(found: Found) -> Section:
    section = Section(
        "The best settings",
        "The best of many trials is the best partly by luck: it was chosen by the same val pictures that it is judged "
        "by. Fresh seeds show the luck of the training; test, which chose nothing, shows that of val's pictures too.",
    )
    section.add(page.command("python -m pipeline.train " + " ".join(found.best)))
    if found.confirmed:
        section.add(page.note(f"Confirmed: {found.confirmed.told()}."))
    else:
        section.add(page.note("Not confirmed by fresh seeds (tune.confirm).", "bad"))
    return section


def _mattered(found: Found, done: int) -> Section:
    section = Section(
        "What mattered",
        "How much of the variance between trials each key accounts for (fANOVA; Hutter, Hoos and Leyton-Brown 2014). "
        f"Of {counted(done, 'trial')} that came to their end; a rough order: a search looks longer where it is good.",
    )
    if found.importances:
        shares = pd.DataFrame({"share": {key: round(100 * one, 1) for key, one in found.importances.items()}})
        section.add(bars(shares, title="share of the variance (%)"))
        if hanging := [key for key in found.keys if key not in found.importances]:
            section.add(page.note(f"Not every trial had {', '.join(hanging)}: of that no share can be told."))
    else:
        section.add(page.note("Too few trials came to their end, or all to the same, to tell."))
    if done:
        figure = search_slices(found.trials, list(found.keys), found.log, found.objective)
        section.add(page.note("Each key's values, and what the trials with them came to:"))
        section.add(svg(figure, "each key's values and the objective"))
    return section


def _history(found: Found) -> Section:
    drawn = svg(search_history(found.trials, found.objective, lower=found.lower), "the trials in their order")
    return Section("How it went").add(drawn)


def _trials(found: Found) -> Section:
    shown = found.trials.sort_values("value", ascending=found.lower, na_position="last")
    section = Section("All trials", "Best first; each is a run of its own under this one in MLflow.")
    return section.add(page.table(shown, most=1000), *(page.note(one) for one in found.facts))
