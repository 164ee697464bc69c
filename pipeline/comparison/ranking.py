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
from statsmodels.stats.multitest import multipletests

from pipeline.common.errors import BadInput
from pipeline.comparison.choices import counts, short_key, short_value, telling_keys
from pipeline.config.keys import BOOTSTRAP, FOLD, REPEATS, SPLIT
from pipeline.data.digest import CONTENT_FORM
from pipeline.evaluation.metrics import summary
from pipeline.evaluation.statistics import (
    Interval,
    corrected_maximum,
    difference_over_seeds,
    interval_of_share,
    intervals_of_class_averages,
    over_seeds,
    over_splits,
    paired_tests_of,
)
from pipeline.predictions.predictions import Predictions

# Keys that repeat a choice.
FIGURES = ("log_loss", "macro_f1", "balanced_accuracy", "ece")
CLASS_AVERAGES = ("macro_f1", "balanced_accuracy")
COSTS = ("minutes", "images_per_second", "parameters")
LEADERS = 5
_PLAIN_KEYS = ("model", "regime")  # whose answers speak for themselves


@dataclass(frozen=True)
class Score:
    """What ranking needs of a run's predictions, small enough to hold for hundreds of runs.

    `pictures` is a digest of ids and labels; `ids` (n,) uint64 hashes of the ids, `labels` (n,) and `correct` (n,)
    bool stand in the order of the ids. `intervals` are those of the averages over classes.
    """

    pictures: str
    ids: np.ndarray
    labels: np.ndarray
    correct: np.ndarray
    figures: dict[str, float]
    intervals: dict[str, Interval]


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
    trained_on: int | None = None  # pictures

    @property
    def repeat(self) -> tuple[str, ...]:
        """Which repetition of its choice it is."""
        return tuple(self.choices.get(key, "").zfill(9) for key in REPEATS)  # so that 2 stands before 10

    @property
    def partition(self) -> tuple[str, str]:
        """Which pictures were held out from it."""
        return self.val.pictures, self.test.pictures if self.test else ""

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
    def splits(self) -> list[str]:
        """The seeds of the splits that its runs are on, where these hold out different pictures; else nothing."""
        seeds = sorted({one.choices.get(SPLIT, "") for one in self.runs}, key=lambda seed: seed.zfill(9))
        return seeds if len(seeds) > 1 and len({one.partition for one in self.runs}) > 1 else []

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
    intervals = intervals_of_class_averages(predictions.labels, predictions.predicted)
    hashes = pd.util.hash_array(ids.astype(object), categorize=False)
    return Score(digest.hexdigest()[:16], hashes, labels, predictions.correct[order], figures, intervals)


def comparable(entrants: Sequence[Entrant]) -> list[list[Entrant]]:
    """The runs in groups on the same classes, pictures and splits; the largest group first.

    Folds of one split are together. So are runs on a part or a resample of the training pictures, which is a
    choice like others: their val and test are the same. Runs on several splits of the same pictures, which differ in
    `data.split.seed`, are together where each choice was run on all of these splits.
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
    return sorted(_joined_over_splits(list(groups.values())), key=len, reverse=True)


def _joined_over_splits(groups: Sequence[list[Entrant]]) -> list[list[Entrant]]:
    """Groups that hold out other pictures of the same set, as the seed of their split has it, as one."""
    by_set: dict[tuple[Any, ...], list[list[Entrant]]] = defaultdict(list)
    for group in groups:
        by_set[(group[0].classes, group[0].test is None, *_set_but_split(group[0]))].append(group)
    joined: list[list[Entrant]] = []
    for same in by_set.values():
        joined += _by_splits([one for group in same for one in group]) if _are_splits(same) else same
    return joined


def _set_but_split(one: Entrant) -> list[tuple[str, str]]:
    """What its config says of the pictures, and not of how they are split."""
    no_part = (FOLD, SPLIT, "data.fraction")
    return sorted(
        (key, value)
        for key, value in one.choices.items()
        if (_says_the_data(key) and counts(key) and key not in no_part) or key == "trainer.limit_batches"
    )


def _are_splits(groups: Sequence[list[Entrant]]) -> bool:
    """Whether groups of one set differ in the split alone: another seed each, as many pictures, the same labels."""
    seeds = [{one.choices.get(SPLIT, "") for one in group} for group in groups]
    if len(groups) < 2 or sum(map(len, seeds)) != len(frozenset().union(*seeds)):
        return False
    runs = [one for group in groups for one in group]
    totals = {
        one.trained_on + len(one.val.labels) + (len(one.test.labels) if one.test else 0)
        for one in runs
        if one.trained_on is not None and not _resampled(one)
    }
    scores = {score.pictures: score for one in runs for score in (one.val, one.test) if score}.values()
    ids, labels = (np.concatenate([getattr(one, name) for one in scores]) for name in ("ids", "labels"))
    pairs = pd.DataFrame({"id": ids, "label": labels}).drop_duplicates()
    return len(totals) < 2 and not pairs["id"].duplicated().any()


def _by_splits(runs: Sequence[Entrant]) -> list[list[Entrant]]:
    """Runs over several splits, apart by the splits that all runs of their choice are on: means compare then."""
    keys = telling_keys([_plain(one) for one in runs], frozenset().union(*(one.typed for one in runs)))
    choices = [tuple(one.choices.get(key, "") for key in keys) for one in runs]
    splits: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for choice, one in zip(choices, runs, strict=True):
        splits[choice].add(one.choices.get(SPLIT, ""))
    groups: dict[frozenset[str], list[Entrant]] = defaultdict(list)
    for choice, one in zip(choices, runs, strict=True):
        groups[frozenset(splits[choice])].append(one)
    return list(groups.values())


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
    found = {"n": len(row.runs), "splits": max(1, len(row.splits)), **_split_figures("val", row)}
    if all(one.test for one in row.runs):
        found |= _split_figures("test", row)
    for cost in COSTS:
        known = [one.cost[cost] for one in row.runs if cost in one.cost]
        found[cost] = float(np.mean(known)) if known else np.nan
    return found


def _split_figures(split: str, row: Row) -> dict[str, float]:
    scores = _scores(row, split)
    accuracies = [one.figures["accuracy"] for one in scores]
    found = {
        f"{split}_accuracy": float(np.mean(accuracies)),
        f"{split}_sd": over_seeds(accuracies)["sd"],
        f"{split}_min": min(accuracies),
        f"{split}_max": max(accuracies),
        **{f"{split}_{name}": float(np.mean([one.figures[name] for one in scores])) for name in FIGURES},
        f"n_{split}": float(len(picture_scores(scores))),
    }
    for name in ("accuracy", *CLASS_AVERAGES):
        low, high = _ends(row, split, name, found[f"{split}_{name}"])
        prefix = split if name == "accuracy" else f"{split}_{name}"
        found |= {f"{prefix}_low": max(low, 0.0), f"{prefix}_high": min(high, 1.0)}
    return found


def _ends(row: Row, split: str, name: str, mean: float) -> tuple[float, float]:
    """Where a row's figure lies with 95 % confidence.

    Over several splits that is a matter of their spread; else of the pictures, whatever the seeds, and of folds
    of unequal size the mean is moved to that of folds.
    """
    scores = _scores(row, split)
    if row.splits and len({one.pictures for one in scores}) > 1:
        found = over_splits(list(_by_partition(row, split, name).values()), test_by_train(row, split))
        return found["low"], found["high"]
    if name == "accuracy":
        interval = interval_of_share(picture_scores(scores))
        shift = mean - interval.value
        return interval.low + shift, interval.high + shift
    gaps = defaultdict(list)
    for one in scores:
        gaps[one.pictures].append([one.intervals[name].value - one.intervals[name].low,
                                   one.intervals[name].high - one.intervals[name].value])  # fmt: skip
    down, up = np.sqrt(np.square([np.mean(some, axis=0) for some in gaps.values()]).sum(axis=0)) / len(gaps)
    return mean - float(down), mean + float(up)


def _scores(row: Row, split: str) -> list[Score]:
    found = [one.val if split == "val" else one.test for one in row.runs]
    return [one for one in found if one]


def _by_partition(row: Row, split: str, name: str = "accuracy") -> dict[tuple[str, str], float]:
    """A figure by what was held out: the mean of the seeds."""
    figures: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in row.runs:
        score = run.val if split == "val" else run.test
        if score:
            figures[run.partition].append(score.figures[name])
    return {partition: float(np.mean(some)) for partition, some in figures.items()}


def test_by_train(row: Row, split: str) -> float:
    """How many pictures a split scores for one that is trained on; where that is not stored, what the config says."""
    ratios = []
    for run, score in zip(row.runs, _scores(row, split), strict=True):
        trained = _trained_by_config(run) if run.trained_on is None else run.trained_on
        ratios.append(len(score.labels) / max(trained, 1))
    return float(np.mean(ratios))


def _trained_by_config(run: Entrant) -> float:
    val = len(run.val.labels)
    if run.folds:
        return val * (int(run.choices["data.split.folds"]) - 1)
    shares = [float(run.choices.get(f"data.split.{part}", 0) or 0) for part in ("val", "test")]
    return val * (1 - sum(shares)) / shares[0] if shares[0] > 0 else val


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
    tests = {one.test.pictures: one.test for one in entrants if one.test}
    if tests:
        found["test_accuracy"] = float(np.mean(np.concatenate([one.labels for one in tests.values()]) == code))
    return found


def corrected_best(rows: Sequence[Row]) -> float | None:
    """Val accuracy of the best row, corrected for its being the best of so many; None where that cannot be said.

    See `corrected_maximum`. Rows are chosen among by the mean of their runs.
    """
    if len(rows) < 2:
        return None
    held = [_by_pictures(row) for row in rows]
    common = [pictures for pictures in held[0] if all(pictures in one for one in held)]
    if not common or any(len(one) != len(common) for one in held):
        return None
    table = np.stack([np.concatenate([one[pictures][1] for pictures in common]) for one in held])
    ids = np.concatenate([held[0][pictures][0] for pictures in common])
    return min(corrected_maximum(table, ids), float(table.mean(axis=1).max()))


def _by_pictures(row: Row) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Its val pictures (ids) and how often each was answered rightly, by their digest."""
    found: dict[str, list[Score]] = defaultdict(list)
    for run in row.runs:
        found[run.val.pictures].append(run.val)
    return {name: (some[0].ids, np.mean([one.correct for one in some], axis=0)) for name, some in found.items()}


def pairwise_tests(rows: Sequence[Row], split: str, most: int = LEADERS) -> pd.DataFrame:
    """McNemar's tests between the first rows, one run a row: that with the lowest seed, its folds joined.

    Columns as in `paired_tests`, and `p_seeds`: Welch's test over seeds where both have at least two. Rows over
    several splits have the corrected resampled t-test instead (`over_splits`).
    """
    leaders = {row.name: row for row in rows[:most]}
    if all(row.splits for row in leaders.values()):
        return _tests_over_splits(leaders, split)
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


def _tests_over_splits(leaders: Mapping[str, Row], split: str) -> pd.DataFrame:
    """Pairs by their differences on the splits that both are on."""
    found = []
    for (one, row), (other, rival) in combinations(leaders.items(), 2):
        mine, theirs = _by_partition(row, split), _by_partition(rival, split)
        gaps = [mine[partition] - theirs[partition] for partition in mine if partition in theirs]
        if len(gaps) > 1:
            test = over_splits(gaps, test_by_train(row, split))
            found.append((one, other, test["mean"], test["low"], test["high"], test["p"]))
    table = pd.DataFrame(found, columns=["one", "other", "difference", "low", "high", "p"])
    table["p_holm"] = multipletests(table["p"], method="holm")[1] if found else []
    return table.assign(p_seeds=np.nan).sort_values("p", kind="stable", ignore_index=True)


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
    """A row a run, as `pipeline.comparison.effects` takes it, and its columns of choices; seeds are one."""
    rows = []
    for row in ranking.rows:
        for one in row.runs:
            repeats = {key: one.choices.get(key, "") for key in REPEATS}
            own = {name: one.choices.get(f"{name}.name", "").rpartition("/")[2] for name in ("model", "regime")}
            rows.append(own | row.answers | repeats | {"val accuracy": one.val.figures["accuracy"], **one.cost})
    return pd.DataFrame(rows), [*ranking.rows[0].answers, *REPEATS]


def difference_of_data(ranked: Sequence[Entrant], others: Sequence[Entrant]) -> str:
    """Why two groups of runs are not ranked together, in a line."""
    one, other = ranked[0], others[0]
    seeds, own = (sorted({run.choices.get(SPLIT, "") for run in runs}) for runs in (ranked, others))
    if seeds != own and one.classes == other.classes and _set_but_split(one) == _set_but_split(other):
        return f"other splits of the same pictures: {SPLIT}={','.join(own)} instead of {','.join(seeds)}"
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
