"""How sure a figure is: intervals over pictures and over seeds, and paired tests between runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from pipeline.predictions.alignment import aligned
from pipeline.predictions.predictions import Predictions

LEVEL = 0.95
RESAMPLES = 2_000
BATCH_VALUES = 10_000_000
MEASURED = (  # by bench/interval_coverage.py
    "How often such 95 % intervals hold the truth was simulated: Wilson's of a share in 95 to 98 % of cases (48 to 500 "
    "pictures, 85 to 99 % right; the percentile bootstrap in 92 to 95 %); those of macro F1 in 95 to 97 % and of "
    "balanced accuracy in 93 to 95 %, for ten uneven classes and 60, 140 or 500 pictures (the bootstrap in 90 to 93 % "
    "and 78 to 93 %). Where a class has no picture at all, none of them knows."
)


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
    """Bootstrap interval (percentile) of the mean over pictures of (n,) scores: losses, differences, ...

    Where all pictures score the same the bootstrap knows no doubt. Shares have `interval_of_share`.
    Efron and Tibshirani 1993, "An Introduction to the Bootstrap".
    """
    values = np.asarray(scores, dtype=float)
    mean = float(values.mean())
    if np.ptp(values) == 0:
        return Interval(mean, mean, mean, level)
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


def interval_of_share(scores: np.ndarray, *, groups: np.ndarray | None = None, level: float = LEVEL) -> Interval:
    """Wilson's interval of a share: the mean of (n,) bool, or of numbers between 0 and 1 (right in half the seeds).

    Of numbers, and of pictures that belong together (`groups` (n,) names the specimen of each), it is that of as
    many independent pictures as would have the same variance, for groups with the quantile of t. Near 0 and 1 the
    percentile bootstrap is too short, of groups even more; the measured coverage of both is in `MEASURED`.
    Wilson 1927; Korn and Graubard 1998 on the effective sample size.
    """
    values = np.asarray(scores, dtype=float)
    mean, size = float(values.mean()), len(values)
    if groups is None:
        count, variance, quantile = size, float(((values - mean) ** 2).sum()) / size**2, stats.norm.ppf((1 + level) / 2)
    else:
        codes, names = pd.factorize(np.asarray(groups))
        count = len(names)
        sums = np.bincount(codes, weights=values - mean)
        variance = float((sums**2).sum()) / size**2 * count / max(count - 1, 1)
        quantile = stats.t.ppf((1 + level) / 2, max(count - 1, 1))
    effective = mean * (1 - mean) / variance if variance > 1e-15 else count
    low, high = wilson(mean, effective if groups is None else min(effective, size), float(quantile))
    return Interval(mean, float(low), float(high), level)


def wilson(share: np.ndarray | float, pictures: np.ndarray | float, quantile: float) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of Wilson's interval; `quantile` is that of the normal law (1.96)."""
    square = quantile**2 / np.asarray(pictures, dtype=float)
    centre = (share + square / 2) / (1 + square)
    half = np.sqrt(square * share * (1 - np.asarray(share)) + square**2 / 4) / (1 + square)
    return np.clip(centre - half, 0.0, share), np.clip(centre + half, share, 1.0)


def intervals_of_class_averages(
    labels: np.ndarray, predicted: np.ndarray, *, groups: np.ndarray | None = None, level: float = LEVEL
) -> dict[str, Interval]:
    """Intervals of `macro_f1` and `balanced_accuracy` from (n,) codes, made of Wilson's for each class.

    A resample of a class that has three pictures, all right, knows no doubt, so that every bootstrap is too short
    where classes are small. Here each class has Wilson's interval of its recall, and for F1 of the share of hits
    among all pictures that are of the class or taken for it (of which F1 is a function); how these make one is told
    in `_combined`. F1 of few pictures is too low on average, as it is a concave function of that share: its interval
    is moved by that bias, to the second order. Pictures of one specimen (`groups`, (n,) names) widen both. `MEASURED`
    has what they cover.
    """
    size = int(max(labels.max(), predicted.max())) + 1
    right = labels == predicted
    hits = np.bincount(labels[right], minlength=size)
    shown = np.bincount(labels, minlength=size)
    either = shown + np.bincount(predicted, minlength=size)  # 2 TP + FP + FN
    recall = np.divide(hits, shown, out=np.zeros(size), where=shown > 0)
    f1 = np.divide(2 * hits, either, out=np.zeros(size), where=either > 0)
    # How much each picture moves the sum over classes: of F1 in the true class and, where wrong, in the other.
    own = (right - recall[labels]) / shown[labels]
    true_side = np.where(right, 2 - 2 * f1[labels], -f1[labels]) / either[labels]
    other_side = np.where(right, 0.0, -f1[predicted] / either[predicted])
    return {
        "macro_f1": _combined(hits, either - hits, _widening([true_side, other_side], groups), level, f1=True),
        "balanced_accuracy": _combined(hits, shown, _widening([own], groups), level),
    }


def _widening(influences: list[np.ndarray], groups: np.ndarray | None) -> float:
    """The variance of a sum over classes by what it were if classes, and pictures, were independent; 1 at least."""
    apart = sum(float((one**2).sum()) for one in influences)
    together = np.sum(influences, axis=0)
    factor = 1.0
    if groups is not None:
        codes, names = pd.factorize(np.asarray(groups))
        together = np.bincount(codes, weights=together) * np.sqrt(len(names) / max(len(names) - 1, 1))
        factor = len(codes) / len(names)
    return max(1.0, float((together**2).sum()) / apart) if apart > 0 else factor


def _combined(hits: np.ndarray, sizes: np.ndarray, widening: float, level: float, *, f1: bool = False) -> Interval:
    """The interval of the mean over classes of hits / size, or of F1, which is 2 s / (1 + s) of that share s.

    Twice, and the outer ends are taken: each class's own interval, combined by Zou and Donner's method (2008,
    "Construction of confidence intervals about effect measures"), which holds where few rare classes decide; and
    Wilson's of as many pictures as would have the variance of the mean (the classes' shares drawn to the mean by two
    pictures), which holds where there are many classes, each all right or nearly so.
    """
    hits, sizes = hits[sizes > 0], sizes[sizes > 0]
    quantile = float(stats.norm.ppf((1 + level) / 2))
    shares = hits / sizes
    figures, ends = shares, wilson(shares, sizes, quantile)
    if f1:
        figures, ends = 2 * shares / (1 + shares), tuple(2 * end / (1 + end) for end in ends)
    mean, classes = float(figures.mean()), len(figures)
    down, up = (float(np.sqrt(widening * ((figures - end) ** 2).sum())) / classes for end in ends)

    middle = (float(shares.mean()) * classes + 0.5) / (classes + 1)
    drawn = (hits + 2 * middle) / (sizes + 2)
    slope = 2 / (1 + drawn) ** 2 if f1 else 1.0
    variance = widening * float((slope**2 * drawn * (1 - drawn) / sizes).sum()) / classes**2
    centre = 2 * middle / (1 + middle) if f1 else middle
    other = wilson(mean, centre * (1 - centre) / variance, quantile)

    near = (hits + 0.5) / (sizes + 1)
    bias = float((2 * near * (1 - near) / (sizes * (1 + near) ** 3)).mean()) if f1 else 0.0
    low, high = min(mean - down, float(other[0])) + bias, max(mean + up, float(other[1])) + bias
    return Interval(mean, float(np.clip(low, 0.0, mean)), float(np.clip(high, mean, 1.0)), level)


def intervals(
    predictions: Predictions,
    *,
    groups: np.ndarray | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals over pictures of `accuracy`, `macro_f1`, `balanced_accuracy` and (by bootstrap) `log_loss`.

    `groups` (n,) names what pictures belong together, as those of one specimen do; `log_loss` does not heed it.
    """
    predictions.check_usable()
    losses = -predictions.true_log_probability
    return {
        "accuracy": interval_of_share(predictions.correct, groups=groups, level=level),
        "log_loss": interval_of_mean(losses, level=level, resamples=resamples, seed=seed),
        **intervals_of_class_averages(predictions.labels, predictions.predicted, groups=groups, level=level),
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


def over_splits(values: Sequence[float], test_by_train: float, level: float = LEVEL) -> dict[str, float]:
    """One figure, or difference, from runs on several splits of the same pictures: as `over_seeds`, and `p`.

    The splits' training pictures overlap, so their figures do not vary independently: the variance of the mean is
    not sd^2 / n but sd^2 (1/n + `test_by_train`), the number of pictures scored by that of those trained on. `p` is
    that of the mean being 0 (the corrected resampled t-test). Nadeau and Bengio 2003, "Inference for the
    Generalization Error"; Bouckaert and Frank 2004 for repeated folds.
    """
    found = over_seeds(values, level)
    if found["n"] < 2:
        return found | {"p": np.nan}
    free = found["n"] - 1
    error = found["sd"] * np.sqrt(1 / found["n"] + test_by_train)
    half = float(stats.t.ppf((1 + level) / 2, free)) * error
    t = found["mean"] / error if error > 0 else np.inf
    p = 1.0 if found["mean"] == 0 else float(2 * stats.t.sf(abs(t), free))
    return found | {"low": found["mean"] - half, "high": found["mean"] + half, "p": p}


def corrected_maximum(
    scores: np.ndarray, pictures: np.ndarray | None = None, *, resamples: int = 1_000, seed: int = 0
) -> float:
    """What the best of several runs is worth on pictures that did not choose it, from (runs, n) scores.

    The largest of many means flatters: part of it is luck. Pictures are drawn with replacement, the best run on
    those drawn is scored on those that were not, and the mean over draws is given. `pictures` (n,) says which columns
    are of the same picture (over several splits): these are drawn together. "Bootstrap bias corrected
    cross-validation": Tsamardinos, Greasidou and Borboudakis 2018. What else was chosen by the same pictures, as the
    epoch of each run, it cannot take away.
    """
    table = np.asarray(scores, dtype=np.float32)
    if len(table) < 2:
        return float(table.mean())
    codes, names = (np.arange(table.shape[1]),) * 2 if pictures is None else pd.factorize(pictures)
    resamples = int(np.clip(50 * BATCH_VALUES // table.size, 100, resamples))
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = np.bincount(chance.integers(0, len(names), len(names)), minlength=len(names))[codes]
        left = drawn == 0
        if left.any():
            inside = table @ drawn.astype(np.float32) / drawn.sum()
            best = np.flatnonzero(inside >= inside.max() - 1e-6)
            found.append(float(table[chance.choice(best), left].mean()))
    return float(np.mean(found)) if found else float(table.mean(axis=1).max())


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


def exact_mcnemar(only_one: int, only_other: int) -> float:
    """The two-sided p of McNemar's exact test, from how many pictures only one of two runs has right (1947)."""
    return min(float(mcnemar([[0, only_one], [only_other, 0]], exact=True).pvalue), 1.0)


def paired_tests_of(
    right: Mapping[str, np.ndarray], *, against: str | None = None, level: float = LEVEL, seed: int = 0
) -> pd.DataFrame:
    """The same from (n,) bool a run: which of the same pictures, in the same order, it has right."""
    rows = []
    for one, other in combinations(right, 2):
        if against is not None and against not in (one, other):
            continue
        only_one, only_other = (
            int((right[one] & ~right[other]).sum()),
            int((right[other] & ~right[one]).sum()),
        )
        gap = interval_of_mean(right[one].astype(float) - right[other], level=level, seed=seed)
        p = exact_mcnemar(only_one, only_other)
        rows.append((one, other, only_one, only_other, gap.value, gap.low, gap.high, p))
    names = ["one", "other", "only_one", "only_other", "difference", "low", "high", "p"]
    table = pd.DataFrame(rows, columns=names)
    table["p_holm"] = multipletests(table["p"], method="holm")[1] if rows else []
    return table.sort_values("p", kind="stable", ignore_index=True)
