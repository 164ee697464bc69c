"""Finished runs ranked by val: runs of one choice as one row, and only runs on the same pictures together."""

import hashlib
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.digest import CONTENT_FORM
from pipeline.errors import BadInput
from pipeline.evaluation.choices import short_key, short_value, telling_keys
from pipeline.evaluation.metrics import summary
from pipeline.evaluation.predictions import Predictions
from pipeline.evaluation.statistics import (
    difference_over_seeds,
    interval_of_mean,
    over_seeds,
    paired_tests_of,
)

SEED, FOLD, BOOTSTRAP = REPEATS = ("seed", "data.split.fold", "data.bootstrap")  # keys that repeat a choice
FIGURES = ("log_loss", "macro_f1", "ece")
COSTS = ("minutes", "images_per_second", "parameters")
LEADERS = 5
_PLAIN_KEYS = ("model", "regime")  # whose answers speak for themselves


@dataclass(frozen=True)
class Score:
    """What ranking needs of a run's predictions, small enough to hold for hundreds of runs.

    `pictures` is a digest of ids and labels; `labels` (n,) and `correct` (n,) bool stand in the order of the ids.
    """

    pictures: str
    labels: np.ndarray
    correct: np.ndarray
    figures: dict[str, float]


@dataclass(frozen=True)
class Entrant:
    """A finished run: its id, the answers to its config's keys, scores on val and test, and what it cost."""

    id: str
    choices: Mapping[str, str]
    classes: tuple[str, ...]
    data: str  # the digest of the table it was trained on
    val: Score
    test: Score | None = None
    cost: Mapping[str, float] = field(default_factory=dict)
    typed: frozenset[str] = frozenset()  # keys that the user gave on the command line

    @property
    def repeat(self) -> tuple[str, ...]:
        """Which repetition of its choice it is."""
        return tuple(self.choices.get(key, "").zfill(9) for key in REPEATS)  # so that 2 stands before 10

    @property
    def folds(self) -> bool:
        """Whether its val is one fold of several."""
        return self.choices.get("data.split.folds", "None") != "None"


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


@dataclass(frozen=True)
class Ranking:
    """Rows, best by val first; `table` has their figures, `older` the runs that a newer twin stands for."""

    rows: list[Row]
    table: pd.DataFrame
    older: list[str]


def score(predictions: Predictions) -> Score:
    """Reduce predictions to what ranking needs. BadInput for NaN, no pictures, or a picture twice."""
    figures = summary(predictions)
    ids = predictions.ids.astype(str)
    order = np.argsort(ids, kind="stable")
    ids, labels = ids[order], predictions.labels[order]
    twice = np.flatnonzero(ids[1:] == ids[:-1])
    if len(twice):
        raise BadInput(f"{ids[twice[0]]} is there more than once: score the run again")
    digest = hashlib.sha256("\0".join(ids).encode())
    digest.update(labels.astype("<i8").tobytes())
    return Score(digest.hexdigest()[:16], labels, predictions.correct[order], figures)


def comparable(entrants: Sequence[Entrant]) -> list[list[Entrant]]:
    """The runs in groups on the same classes, pictures and splits; the largest group first.

    Folds of one split are together. So are runs on a part or a resample of the training pictures, which is a
    choice like others: their val and test are the same.
    """
    groups: dict[tuple[Any, ...], list[Entrant]] = defaultdict(list)
    for one in entrants:
        test = one.test.pictures if one.test else ""
        groups[(one.classes, _held_out(one), test, "" if _resampled(one) else one.data)].append(one)
    # Digests of sizes, as runs of earlier versions have, cannot be held against digests of contents: such runs are
    # on the same data where val and test are the same pictures, unless there is a choice of such data.
    for key in [key for key in groups if key[-1] and not key[-1].startswith(CONTENT_FORM)]:
        others = _others(groups, key)
        if all(other[-1].startswith(CONTENT_FORM) for other in others):
            _merge(groups, key, others)
    for key in [key for key in groups if not key[-1]]:
        _merge(groups, key, _others(groups, key))
    return sorted(groups.values(), key=len, reverse=True)


def _others(groups: Mapping[tuple[Any, ...], list[Entrant]], key: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """The groups like one in all but the digest of their data, which they have."""
    return [other for other in groups if other[:-1] == key[:-1] and other != key and other[-1]]


def _merge(groups: dict[tuple[Any, ...], list[Entrant]], key: tuple[Any, ...], others: list[tuple[Any, ...]]) -> None:
    if len(others) == 1:
        groups[others[0]] += groups.pop(key)


def _held_out(one: Entrant) -> str:
    if not one.folds:
        return one.val.pictures
    return repr(sorted(pair for pair in one.choices.items() if _says_the_data(pair[0]) and pair[0] != FOLD))


def _says_the_data(key: str) -> bool:
    return key.startswith("data.") and key not in ("data.root", "data.image_size", "data.fit", BOOTSTRAP)


def _resampled(one: Entrant) -> bool:
    """Whether its table differs from the whole set's by what a key says: its digest then tells nothing."""
    return one.folds or one.choices.get(BOOTSTRAP, "None") != "None" or float(one.choices.get("data.fraction", 1)) < 1


def rank(entrants: Sequence[Entrant]) -> Ranking:
    """Comparable runs, newest first, as rows: one a choice, with the mean of its seeds and folds."""
    keys = telling_keys([_plain(one) for one in entrants], frozenset().union(*(one.typed for one in entrants)))
    together: dict[tuple[str, ...], dict[tuple[str, ...], Entrant]] = defaultdict(dict)
    older = []
    for one in entrants:
        choice = tuple(one.choices.get(key, "") for key in keys)
        if together[choice].setdefault(one.repeat, one) is not one:
            older.append(one.id)
    rows = [_row(keys, choice, list(runs.values())) for choice, runs in together.items()]
    figures = [(row, _figures(row)) for row in rows]
    figures.sort(key=lambda pair: (-pair[1]["val_accuracy"], pair[1]["val_log_loss"]))
    table = pd.DataFrame([{"name": row.name, **row.answers, **values} for row, values in figures])
    return Ranking([row for row, _ in figures], table, older)


def _plain(one: Entrant) -> dict[str, str]:
    return {key: value for key, value in one.choices.items() if key not in REPEATS}


def _row(keys: Sequence[str], choice: Sequence[str], runs: list[Entrant]) -> Row:
    pairs = zip(keys, choice, strict=True)
    answers = {short_key(key): short_value(key, value) for key, value in pairs}
    network = short_value("model.name", runs[0].choices.get("model.name", "the run"))
    words = [value if key in _PLAIN_KEYS else f"{key.rpartition('.')[2]}={value}" for key, value in answers.items()]
    name = " ".join(words) or network
    return Row(name, answers, sorted(runs, key=lambda one: (one.repeat, one.id)))


def _figures(row: Row) -> dict[str, float]:
    spread = over_seeds([one.val.figures["accuracy"] for one in row.runs])
    found = {
        "n": len(row.runs),
        "val_sd": spread["sd"],
        **_split_figures("val", [one.val for one in row.runs]),
    }
    tests = [one.test for one in row.runs if one.test]
    if len(tests) == len(row.runs):
        spread = over_seeds([test.figures["accuracy"] for test in tests])
        found |= {"test_sd": spread["sd"], **_split_figures("test", tests)}
    for cost in COSTS:
        known = [one.cost[cost] for one in row.runs if cost in one.cost]
        found[cost] = float(np.mean(known)) if known else np.nan
    return found


def _split_figures(split: str, scores: Sequence[Score]) -> dict[str, float]:
    interval = interval_of_mean(picture_scores(scores))
    mean = float(np.mean([one.figures["accuracy"] for one in scores]))
    shift = mean - interval.value  # folds of unequal size: the mean of folds is not that of pictures
    return {
        f"{split}_accuracy": mean,
        f"{split}_low": interval.low + shift,
        f"{split}_high": interval.high + shift,
        **{f"{split}_{name}": float(np.mean([one.figures[name] for one in scores])) for name in FIGURES},
        f"n_{split}": float(len(picture_scores(scores))),
    }


def picture_scores(scores: Sequence[Score]) -> np.ndarray:
    """(n,) how often each picture was answered rightly by runs of one choice: bool where each had one run."""
    by_pictures: dict[str, list[np.ndarray]] = defaultdict(list)
    for one in scores:
        by_pictures[one.pictures].append(one.correct)
    parts = [runs[0] if len(runs) == 1 else np.mean(runs, axis=0) for runs in by_pictures.values()]
    return np.concatenate(parts)


def majority(entrants: Sequence[Entrant]) -> dict[str, Any]:
    """What always answering val's most frequent class would score: `class`, `val_accuracy`, `test_accuracy`."""
    first = entrants[0]
    size = len(first.classes)
    code = int(np.bincount(first.val.labels, minlength=size).argmax())
    found: dict[str, Any] = {"class": first.classes[code], "classes": size}
    vals = {one.val.pictures: one.val for one in entrants}
    found["val_accuracy"] = float(np.mean(np.concatenate([one.labels for one in vals.values()]) == code))
    if first.test is not None:
        found["test_accuracy"] = float(np.mean(first.test.labels == code))
    return found


def pairwise_tests(rows: Sequence[Row], split: str, most: int = LEADERS) -> pd.DataFrame:
    """McNemar's tests between the first rows, one run a row: that with the lowest seed, its folds joined.

    Columns as in `paired_tests`, and `p_seeds`: Welch's test over seeds where both have at least two.
    """
    leaders = {row.name: row for row in rows[:most]}
    right: dict[str, np.ndarray] = {}
    seen: list[tuple[str, ...]] = []
    for name, row in leaders.items():
        scores = [one.val if split == "val" else one.test for one in _one_repeat(row)]
        pictures = tuple(dict.fromkeys(one.pictures for one in scores if one))
        if scores and None not in scores and pictures in (seen or [pictures]):
            seen.append(pictures)
            unique = {one.pictures: one.correct for one in scores if one}
            right[name] = np.concatenate([unique[key] for key in pictures])
    table = paired_tests_of(right)
    seeds = {frozenset(pair): _over_seeds(leaders[pair[0]], leaders[pair[1]], split) for pair in combinations(right, 2)}
    pairs = zip(table["one"], table["other"], strict=True)
    return table.assign(p_seeds=[seeds[frozenset(pair)] for pair in pairs])


def _one_repeat(row: Row) -> list[Entrant]:
    """The folds of its first seed."""
    fixed = [place for place, key in enumerate(REPEATS) if key != FOLD]
    lowest = min(tuple(one.repeat[place] for place in fixed) for one in row.runs)
    return [one for one in row.runs if tuple(one.repeat[place] for place in fixed) == lowest]


def _over_seeds(one: Row, other: Row, split: str) -> float:
    mine, theirs = (_accuracies(row, split) for row in (one, other))
    if min(len(mine), len(theirs)) < 2 or one.first.folds or not (np.ptp(mine) or np.ptp(theirs)):
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # seeds that came out equal
        return difference_over_seeds(mine, theirs)[1]


def _accuracies(row: Row, split: str) -> list[float]:
    scores = [run.val if split == "val" else run.test for run in row.runs]
    return [one.figures["accuracy"] for one in scores if one]


def run_table(ranking: Ranking) -> tuple[pd.DataFrame, list[str]]:
    """A row a run, as `pipeline.evaluation.comparison` takes it, and its columns of choices; seeds are one."""
    rows = []
    for row in ranking.rows:
        for one in row.runs:
            repeats = {key: one.choices.get(key, "") for key in REPEATS}
            own = {name: one.choices.get(f"{name}.name", "").rpartition("/")[2] for name in ("model", "regime")}
            rows.append(own | row.answers | repeats | {"val accuracy": one.val.figures["accuracy"], **one.cost})
    return pd.DataFrame(rows), [*ranking.rows[0].answers, *REPEATS]


def difference_of_data(one: Entrant, other: Entrant) -> str:
    """Why two runs are not ranked together, in a line."""
    if one.classes != other.classes:
        new, gone = (sorted(set(a) - set(b)) for a, b in ((other.classes, one.classes), (one.classes, other.classes)))
        parts = [f"{verb} {_some(names)}" for verb, names in (("adds", new), ("lacks", gone)) if names]
        why = f"other classes ({'; '.join(parts) or 'in another order'})"
    elif one.val.pictures != other.val.pictures or (
        one.test and other.test and one.test.pictures != other.test.pictures
    ):
        why = f"other pictures ({len(other.val.labels):,} val" + (
            f", {len(other.test.labels):,} test)" if other.test else ")"
        )
    else:
        why = "other training data"
    keys = sorted({key for run in (one, other) for key in run.choices if key.startswith(("data.", "trainer.limit"))})
    told = [f"{key}={other.choices.get(key)}" for key in keys if one.choices.get(key) != other.choices.get(key)]
    return f"{why}: {', '.join(told)}" if told else f"{why}: the files changed between the runs"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
