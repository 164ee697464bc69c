"""Comparable runs ranked by val: runs of one choice are one row, with the mean of its seeds and folds."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.comparison.choices import short_key, short_value
from pipeline.comparison.entrants import Entrant, Score, by_choice
from pipeline.evaluation.statistics import interval_of_share, over_seeds, over_splits

FIGURES = ("log_loss", "macro_f1", "balanced_accuracy", "ece")
CLASS_AVERAGES = ("macro_f1", "balanced_accuracy")
COSTS = ("minutes", "images_per_second", "parameters")
_PLAIN_KEYS = ("model", "regime")  # whose answers speak for themselves


@dataclass(frozen=True)
class Row:
    """A choice with all runs of it, the lowest fold and seed first."""

    name: str
    answers: dict[str, str]
    runs: list[Entrant]

    @property
    def first(self) -> Entrant:
        """The run that stands for the others where only one can be shown."""
        return self.runs[0]

    @property
    def splits(self) -> list[str]:
        """The seeds of the splits that its runs are on, where these hold out different pictures; else nothing."""
        seeds = sorted({one.split_seed for one in self.runs}, key=lambda seed: seed.zfill(9))
        return seeds if len(seeds) > 1 and len({one.partition for one in self.runs}) > 1 else []

    def scores(self, split: str) -> list[Score]:
        """Those of its runs that were scored on the split."""
        return [score for one in self.runs if (score := one.on(split))]

    def accuracies(self, split: str) -> list[float]:
        return [one.figures["accuracy"] for one in self.scores(split)]

    def by_pictures(self, split: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Pictures (n,) and how often its runs were right about each (n,), by their digest."""
        found: dict[str, list[Score]] = defaultdict(list)
        for one in self.scores(split):
            found[one.pictures].append(one)
        return {name: (some[0].ids, np.mean([one.correct for one in some], axis=0)) for name, some in found.items()}

    def by_partition(self, split: str, name: str = "accuracy") -> pd.Series:
        """A figure by what was held out: the mean of the seeds."""
        scored = [(one.partition, score.figures[name]) for one in self.runs if (score := one.on(split))]
        return pd.DataFrame(scored, columns=["partition", name]).groupby("partition", sort=False)[name].mean()

    def test_by_train(self, split: str) -> float:
        """Pictures that a split scores for one that is trained on; where that is not stored, as the config says."""
        ratios = []
        for one, score in zip(self.runs, self.scores(split), strict=True):
            trained = _trained_by_config(one) if one.trained_on is None else one.trained_on
            ratios.append(len(score.labels) / max(trained, 1))
        return float(np.mean(ratios))


@dataclass(frozen=True)
class Ranking:
    """Rows, best by val first; `table` has their figures, `older` the runs that a newer twin stands for."""

    rows: list[Row]
    table: pd.DataFrame
    older: list[str]


def rank(entrants: Sequence[Entrant]) -> Ranking:
    """Comparable runs, newest first, as rows."""
    keys, together = by_choice(entrants)
    rows, older = [], []
    for choice, runs in together.items():
        newest: dict[tuple[str, ...], Entrant] = {}
        older += [one.id for one in runs if newest.setdefault(one.repeat, one) is not one]
        rows.append(_row(keys, choice, list(newest.values())))
    table = pd.DataFrame([{"name": row.name, **row.answers, **_figures(row)} for row in rows])
    order = np.lexsort((table["val_log_loss"], -table["val_accuracy"]))
    return Ranking([rows[place] for place in order], table.iloc[order].reset_index(drop=True), older)


def _row(keys: Sequence[str], choice: Sequence[str], runs: list[Entrant]) -> Row:
    answers = {short_key(key): short_value(key, value) for key, value in zip(keys, choice, strict=True)}
    network = short_value("model.name", runs[0].choices.get("model.name", "the run"))
    words = [value if key in _PLAIN_KEYS else f"{_word(key, answers)}={value}" for key, value in answers.items()]
    return Row(" ".join(words) or network, answers, sorted(runs, key=lambda one: (one.repeat, one.id)))


def _word(key: str, others: Iterable[str]) -> str:
    """The last part of a key, where that is no other's as well."""
    last = key.rpartition(".")[2]
    return last if sum(one.rpartition(".")[2] == last for one in others) == 1 else key


def _figures(row: Row) -> dict[str, float]:
    found = {"n": len(row.runs), "splits": max(1, len(row.splits)), **_split_figures(row, "val")}
    if all(one.test for one in row.runs):
        found |= _split_figures(row, "test")
    costs = pd.DataFrame([one.cost for one in row.runs], columns=list(COSTS), dtype=float)
    return found | costs.mean().to_dict()


def _split_figures(row: Row, split: str) -> dict[str, float]:
    scores, accuracies = row.scores(split), row.accuracies(split)
    spread = over_seeds(accuracies)
    means = {"accuracy": spread["mean"], "sd": spread["sd"], "min": min(accuracies), "max": max(accuracies)}
    means |= {name: float(np.mean([one.figures[name] for one in scores])) for name in FIGURES}
    found = {f"{split}_{name}": value for name, value in means.items()}
    found[f"n_{split}"] = float(sum(len(ids) for ids, _ in row.by_pictures(split).values()))
    for name in ("accuracy", *CLASS_AVERAGES):
        low, high = _ends(row, split, name, means[name])
        prefix = split if name == "accuracy" else f"{split}_{name}"
        found |= {f"{prefix}_low": max(low, 0.0), f"{prefix}_high": min(high, 1.0)}
    return found


def _ends(row: Row, split: str, name: str, mean: float) -> tuple[float, float]:
    """Where a row's figure lies with 95 % confidence.

    Over several splits that is a matter of their spread; else of the pictures, whatever the seeds, and of folds
    of unequal size the mean is moved to that of folds.
    """
    by_pictures = row.by_pictures(split)
    if row.splits and len(by_pictures) > 1:
        found = over_splits(row.by_partition(split, name).to_list(), row.test_by_train(split))
        return found["low"], found["high"]
    if name == "accuracy":
        interval = interval_of_share(np.concatenate([right for _, right in by_pictures.values()]))
        shift = mean - interval.value
        return interval.low + shift, interval.high + shift
    own = [(one.pictures, one.intervals[name]) for one in row.scores(split)]
    gaps = pd.DataFrame([(pictures, one.value - one.low, one.high - one.value) for pictures, one in own])
    halves = gaps.groupby(0).mean()
    down, up = np.sqrt((halves**2).sum()) / len(halves)
    return mean - float(down), mean + float(up)


def _trained_by_config(run: Entrant) -> float:
    val = len(run.val.labels)
    if run.folds:
        return val * (int(run.choices["data.split.folds"]) - 1)
    shares = [float(run.choices.get(f"data.split.{part}", 0) or 0) for part in ("val", "test")]
    return val * (1 - sum(shares)) / shares[0] if shares[0] > 0 else val
