"""How sure a ranking is: the leaders tested in pairs, and what the best is worth without the luck of the draw."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from pipeline.comparison.entrants import Entrant
from pipeline.comparison.ranking import Row
from pipeline.config.keys import FOLD, REPEATS
from pipeline.evaluation.statistics import corrected_maximum, difference_over_seeds, over_splits, paired_tests_of


def pairwise_tests(leaders: Sequence[Row], split: str) -> pd.DataFrame:
    """McNemar's tests between rows, one run a row: that with the lowest seed, its folds joined.

    Columns as in `paired_tests`, and `p_seeds`: Welch's test over seeds where both have at least two. Rows over
    several splits have the corrected resampled t-test instead (`over_splits`).
    """
    rows = {row.name: row for row in leaders}
    if all(row.splits for row in leaders):
        return _tests_over_splits(rows, split)
    right: dict[str, np.ndarray] = {}
    pictures: list[str] = []  # of the first: others must have the same
    for name, row in rows.items():
        scores = [one.on(split) for one in _one_repeat(row)]
        parts = {one.pictures: one.correct for one in scores if one}
        if parts and None not in scores and list(parts) == (pictures or list(parts)):
            pictures, right[name] = list(parts), np.concatenate(list(parts.values()))
    table = paired_tests_of(right)
    pairs = zip(table["one"], table["other"], strict=True)
    return table.assign(p_seeds=[_over_seeds(rows[one], rows[other], split) for one, other in pairs])


def _one_repeat(row: Row) -> list[Entrant]:
    """The folds of its first seed."""
    fold = REPEATS.index(FOLD)
    seeds = [one.repeat[:fold] + one.repeat[fold + 1 :] for one in row.runs]
    return [one for one, seed in zip(row.runs, seeds, strict=True) if seed == min(seeds)]


def _over_seeds(one: Row, other: Row, split: str) -> float:
    mine, theirs = one.accuracies(split), other.accuracies(split)
    if min(len(mine), len(theirs)) < 2 or one.first.folds or not (np.ptp(mine) or np.ptp(theirs)):
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # seeds that came out equal
        return difference_over_seeds(mine, theirs)[1]


def _tests_over_splits(rows: Mapping[str, Row], split: str) -> pd.DataFrame:
    """Pairs by their differences on the splits that both are on."""
    found = []
    for one, other in combinations(rows, 2):
        gaps = (rows[one].by_partition(split) - rows[other].by_partition(split)).dropna().to_list()
        if len(gaps) > 1:
            test = over_splits(gaps, rows[one].test_by_train(split))
            found.append((one, other, test["mean"], test["low"], test["high"], test["p"]))
    table = pd.DataFrame(found, columns=["one", "other", "difference", "low", "high", "p"])
    table["p_holm"] = multipletests(table["p"], method="holm")[1] if found else []
    return table.assign(p_seeds=np.nan).sort_values("p", kind="stable", ignore_index=True)


def corrected_best(rows: Sequence[Row]) -> float | None:
    """Val accuracy of the best row, corrected for its being the best of so many; None where that cannot be said.

    See `corrected_maximum`. Rows are chosen among by the mean of their runs.
    """
    held = [row.by_pictures("val") for row in rows]
    if len(rows) < 2 or any(one.keys() != held[0].keys() for one in held):
        return None
    table = np.stack([np.concatenate([one[pictures][1] for pictures in held[0]]) for one in held])
    ids = np.concatenate([ids for ids, _ in held[0].values()])
    return min(corrected_maximum(table, ids), float(table.mean(axis=1).max()))
