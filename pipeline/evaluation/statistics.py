"""How sure a figure is: intervals over pictures and over seeds, and paired tests between runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.evaluation.alignment import aligned
from pipeline.evaluation.predictions import Predictions

LEVEL = 0.95
RESAMPLES = 2_000
BATCH_VALUES = 10_000_000


@dataclass(frozen=True)
class Interval:
    """A figure with the ends between which it lies at a confidence `level`."""

    value: float
    low: float
    high: float
    level: float = LEVEL

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def interval_of_mean(
    scores: np.ndarray, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Bootstrap interval (percentile) of the mean over pictures of (n,) scores: right or wrong, losses, ...

    Where all pictures score the same the bootstrap knows no doubt; for right and wrong (bool) Wilson's
    interval stands in. Efron and Tibshirani 1993, "An Introduction to the Bootstrap".
    """
    values = np.asarray(scores, dtype=float)
    mean = float(values.mean())
    if np.ptp(values) == 0:
        shares = np.asarray(scores).dtype == bool
        return _wilson(mean, len(values), level) if shares else Interval(mean, mean, mean, level)
    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, BATCH_VALUES // len(values)),
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return Interval(mean, float(result.confidence_interval.low), float(result.confidence_interval.high), level)


def _wilson(share: float, pictures: int, level: float) -> Interval:
    test = stats.binomtest(round(share * pictures), pictures)
    ends = test.proportion_ci(confidence_level=level, method="wilson")
    return Interval(share, float(ends.low), float(ends.high), level)


def macro_f1_of(rows: np.ndarray, labels: np.ndarray, predicted: np.ndarray) -> float:
    """Macro F1 of a choice of pictures, over the classes that occur among them as a truth or an answer."""
    truth, answer = labels[rows], predicted[rows]
    size = max(truth.max(), answer.max()) + 1
    hits = np.bincount(truth[truth == answer], minlength=size)
    occurrences = np.bincount(truth, minlength=size) + np.bincount(answer, minlength=size)
    occurring = occurrences > 0
    return float(np.mean(2 * hits[occurring] / occurrences[occurring]))


def balanced_accuracy_of(rows: np.ndarray, labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean recall of a choice of pictures, over the classes that occur among them as a truth."""
    truth, answer = labels[rows], predicted[rows]
    shown = np.bincount(truth)
    hits = np.bincount(truth[truth == answer], minlength=len(shown))
    return float(np.mean(hits[shown > 0] / shown[shown > 0]))


def intervals(
    predictions: Predictions, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Bootstrap intervals over pictures for `accuracy`, `log_loss`, `macro_f1` and `balanced_accuracy`.

    Where a class has few pictures a resample often lacks it, which lowers macro F1 as a whole: for the two
    averages over classes the draws are shifted so that their mean is the figure itself.
    """
    predictions.check_usable()

    def over_rows(measure: Callable[..., float]) -> Interval:
        chance = np.random.default_rng(seed)
        truth, answer, size = predictions.labels, predictions.predicted, len(predictions)
        draws = np.array([measure(chance.integers(0, size, size), truth, answer) for _ in range(resamples)])
        value = measure(np.arange(size), truth, answer)
        low, high = value + np.quantile(draws - draws.mean(), [(1 - level) / 2, (1 + level) / 2])
        return Interval(value, max(float(low), 0.0), min(float(high), 1.0), level)

    def of_mean(scores: np.ndarray) -> Interval:
        return interval_of_mean(scores, level=level, resamples=resamples, seed=seed)

    return {
        "accuracy": of_mean(predictions.correct),
        "log_loss": of_mean(-predictions.true_log_probability),
        "macro_f1": over_rows(macro_f1_of),
        "balanced_accuracy": over_rows(balanced_accuracy_of),
    }


def over_seeds(values: Sequence[float], level: float = LEVEL) -> dict[str, float]:
    """One figure from runs that differ in their seed: `mean`, `sd`, `n`, and the t interval's `low`, `high`.

    With one run there is no spread: `sd`, `low` and `high` are NaN.
    """
    figures = np.asarray(values, dtype=float)
    mean, count = float(figures.mean()), len(figures)
    if count < 2:
        return {"mean": mean, "sd": np.nan, "n": count, "low": np.nan, "high": np.nan}
    sd = float(figures.std(ddof=1))
    half = float(stats.t.ppf((1 + level) / 2, count - 1) * sd / np.sqrt(count))
    return {"mean": mean, "sd": sd, "n": count, "low": mean - half, "high": mean + half}


def difference_over_seeds(one: Sequence[float], other: Sequence[float], level: float = LEVEL) -> tuple[Interval, float]:
    """mean(one) - mean(other) with Welch's interval and its two-sided p, each from at least two seeds."""
    test = stats.ttest_ind(one, other, equal_var=False)
    ends = test.confidence_interval(level)
    gap = float(np.mean(one) - np.mean(other))
    return Interval(gap, float(ends.low), float(ends.high), level), float(test.pvalue)


def paired_tests(
    members: Mapping[str, Predictions], *, against: str | None = None, level: float = LEVEL, seed: int = 0
) -> pd.DataFrame:
    """Are two runs really different on the same pictures? One row a pair, the smallest p first.

    Columns: `one`, `other`, `only_one`, `only_other` (pictures that only this run has right), `difference`
    in accuracy with its bootstrap `low` and `high`, `p` (exact McNemar) and `p_holm` (corrected for the
    number of pairs tested). `against` names one run to test all others with, otherwise every pair is tested.
    McNemar 1947; Holm 1979; Dietterich 1998 on why the pairs matter.
    """
    runs = aligned(members)
    right = {name: predictions.correct for name, predictions in runs.items()}
    return paired_tests_of(right, against=against, level=level, seed=seed)


def paired_tests_of(
    right: Mapping[str, np.ndarray], *, against: str | None = None, level: float = LEVEL, seed: int = 0
) -> pd.DataFrame:
    """The same from (n,) bool a run: which of the same pictures, in the same order, it has right."""
    from statsmodels.stats.contingency_tables import mcnemar
    from statsmodels.stats.multitest import multipletests

    rows = []
    for one, other in combinations(right, 2):
        if against is not None and against not in (one, other):
            continue
        only_one, only_other = (
            int((right[one] & ~right[other]).sum()),
            int((right[other] & ~right[one]).sum()),
        )
        gap = interval_of_mean(right[one].astype(float) - right[other], level=level, seed=seed)
        p = float(mcnemar([[0, only_one], [only_other, 0]], exact=True).pvalue)
        rows.append((one, other, only_one, only_other, gap.value, gap.low, gap.high, min(p, 1.0)))
    names = ["one", "other", "only_one", "only_other", "difference", "low", "high", "p"]
    table = pd.DataFrame(rows, columns=names)
    table["p_holm"] = multipletests(table["p"], method="holm")[1] if rows else []
    return table.sort_values("p", kind="stable", ignore_index=True)
