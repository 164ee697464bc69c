"""Where leaders differ class by class, and whether a class of few training pictures is answered worse."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from pipeline.comparison.entrants import Entrant
from pipeline.evaluation.statistics import exact_mcnemar


def class_differences(one: Entrant, other: Entrant, split: str) -> pd.DataFrame:
    """A row a class, the largest difference first, of two runs on the same pictures; empty where those differ.

    Columns: `class`, `pictures`, `one` and `other` (share of the class's pictures answered right), `difference`, and
    `p_holm`: McNemar's exact test on the class's pictures, corrected for the number of classes (Holm 1979).
    """
    mine, theirs = one.on(split), other.on(split)
    names = ["class", "pictures", "one", "other", "difference", "p_holm"]
    if mine is None or theirs is None or mine.pictures != theirs.pictures:
        return pd.DataFrame(columns=names)
    size = len(one.classes)
    only_one, only_other, right_one, right_other, many = (
        np.bincount(mine.labels, weights=some, minlength=size)
        for some in (
            mine.correct & ~theirs.correct, theirs.correct & ~mine.correct, mine.correct, theirs.correct,
            np.ones(len(mine.labels)),
        )
    )  # fmt: skip
    table = pd.DataFrame(
        {"class": one.classes, "pictures": many.astype(int), "one": right_one / np.maximum(many, 1),
         "other": right_other / np.maximum(many, 1)}
    )  # fmt: skip
    table["difference"] = table["one"] - table["other"]
    p = [exact_mcnemar(int(a), int(b)) for a, b in zip(only_one, only_other, strict=True)]
    table["p_holm"] = multipletests(p, method="holm")[1]
    table = table[table["pictures"] > 0]
    return table.iloc[np.argsort(-table["difference"].abs(), kind="stable")].reset_index(drop=True)


def error_by_training_size(run: Entrant, split: str, trained: Mapping[str, int]) -> pd.DataFrame:
    """A row a class with pictures in the split: `class`, `trained` (pictures), `pictures`, `error` (share wrong)."""
    score = run.on(split)
    assert score is not None
    many = np.bincount(score.labels, minlength=len(run.classes))
    wrong = np.bincount(score.labels, weights=~score.correct, minlength=len(run.classes))
    table = pd.DataFrame(
        {"class": run.classes, "trained": [trained.get(name, 0) for name in run.classes], "pictures": many,
         "error": wrong / np.maximum(many, 1)}
    )  # fmt: skip
    return table[table["pictures"] > 0].reset_index(drop=True)
