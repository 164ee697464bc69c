"""How often intervals hold the truth they should: shares near 1, grouped pictures, averages over uneven classes.

    python bench/interval_coverage.py [SIMULATIONS]

Each method makes 95 % intervals for pictures drawn from a known law. Of shares: right with probability p. Of groups:
specimens of five pictures, whose own probabilities vary by a beta law. Of averages over classes: ten classes whose
sizes fall geometrically from 35 % to 1 %, recalls from 0.97 down to 0.6, errors going to others by their size;
the truth is the figure of endlessly many pictures. Of a paired difference: two runs with a given share of disagreement.
"""

import sys

import numpy as np
from scipy import stats

from pipeline.evaluation.statistics import interval_of_mean, interval_of_share, intervals_of_class_averages

RESAMPLES = 500
MEASURES = ("macro_f1", "balanced_accuracy")


def main(simulations: int) -> None:
    """All tables, one line a case: method, share of intervals that hold the truth, their mean length."""
    for pictures, share in ((48, 0.94), (140, 0.97), (140, 0.85), (500, 0.99)):
        report(f"share {share} of {pictures}", shares(pictures, share, simulations))
    for groups, share in ((28, 0.97), (28, 0.85), (100, 0.97)):
        report(f"share {share} of {groups} groups of 5", grouped(groups, share, simulations))
    for pictures in (60, 140, 500):
        for name, found in class_averages(uneven(), pictures, simulations).items():
            report(f"{name} of {pictures}, uneven classes", found)
    for name, found in class_averages(even(40), 120, simulations // 4).items():
        report(f"{name} of 120, 40 even classes", found)
    for pictures, only_one, only_other in ((140, 0.03, 0.01), (140, 0.1, 0.08), (500, 0.02, 0.02)):
        report(f"difference of {pictures}: {only_one} and {only_other}",
               differences(pictures, only_one, only_other, simulations))  # fmt: skip


def report(case: str, found: dict[str, tuple[float, float]]) -> None:
    """A line a method."""
    for method, (coverage, length) in found.items():
        print(f"{case:45s} {method:28s} covers {100 * coverage:5.1f} %   length {100 * length:5.1f} points", flush=True)


def tally(made: dict[str, list[tuple[float, float]]], truth: float) -> dict[str, tuple[float, float]]:
    """Coverage and mean length by method."""
    ends = {method: np.array(pairs) for method, pairs in made.items()}
    return {
        method: (float(((low <= truth + 1e-9) & (truth - 1e-9 <= high)).mean()), float((high - low).mean()))
        for method, (low, high) in ((method, pairs.T) for method, pairs in ends.items())
    }


def shares(pictures: int, share: float, simulations: int) -> dict[str, tuple[float, float]]:
    """Independent pictures, each right with the same probability."""
    chance = np.random.default_rng(0)
    made: dict[str, list[tuple[float, float]]] = {"Wilson": [], "percentile bootstrap": []}
    for _ in range(simulations):
        right = chance.random(pictures) < share
        one = interval_of_share(right)
        made["Wilson"].append((one.low, one.high))
        draws = chance.binomial(pictures, right.mean(), RESAMPLES) / pictures
        made["percentile bootstrap"].append(tuple(np.quantile(draws, [0.025, 0.975])))
    return tally(made, share)


def grouped(groups: int, share: float, simulations: int) -> dict[str, tuple[float, float]]:
    """Specimens of five pictures, alike: correlation 1/3 between pictures of one."""
    chance = np.random.default_rng(0)
    names = np.repeat(np.arange(groups), 5)
    methods = ("Wilson, effective size", "Wilson, groups not heeded", "clustered bootstrap")
    made: dict[str, list[tuple[float, float]]] = {method: [] for method in methods}
    for _ in range(simulations):
        own = chance.beta(2 * share, 2 * (1 - share), groups)
        right = chance.random(5 * groups) < own[names]
        draws = right.reshape(groups, 5).mean(1)[chance.integers(0, groups, (RESAMPLES, groups))].mean(1)
        ends = interval_of_share(right, groups=names), interval_of_share(right)
        for method, one in zip(methods, ends, strict=False):
            made[method].append((one.low, one.high))
        made["clustered bootstrap"].append(tuple(np.quantile(draws, [0.025, 0.975])))
    return tally(made, share)


def uneven() -> np.ndarray:
    """(10, 10) probabilities of a true and an answered class."""
    sizes = np.geomspace(0.35, 0.01, 10)
    sizes /= sizes.sum()
    recalls = np.linspace(0.97, 0.6, 10)
    errors = np.tile(sizes, (10, 1))
    np.fill_diagonal(errors, 0)
    table = errors / errors.sum(1, keepdims=True) * (1 - recalls)[:, None]
    np.fill_diagonal(table, recalls)
    return table * sizes[:, None]


def even(classes: int) -> np.ndarray:
    """(k, k) probabilities where all classes are of one size, each right in 90 %, errors going to three others."""
    table = 0.9 * np.eye(classes)
    for step in (1, 2, 3):
        table += 0.1 / 3 * np.roll(np.eye(classes), step, axis=1)
    return table / classes


def figure_of(name: str, tables: np.ndarray) -> np.ndarray:
    """(b,) figures of (b, k, k) counts, over the classes that occur in each."""
    hits, shown, answered = np.diagonal(tables, axis1=1, axis2=2), tables.sum(2), tables.sum(1)
    over = shown if name == "balanced_accuracy" else (shown + answered) / 2
    own = np.divide(hits, over, out=np.full(hits.shape, np.nan), where=over > 0)
    return np.nanmean(own, axis=1)


def class_averages(law: np.ndarray, pictures: int, simulations: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Macro F1 and balanced accuracy by four methods."""
    chance = np.random.default_rng(0)
    size = len(law)
    methods = ("Wilson by class", "percentile bootstrap", "shifted percentile", "BCa")
    made: dict[str, dict[str, list[tuple[float, float]]]] = {n: {m: [] for m in methods} for n in MEASURES}
    for _ in range(simulations):
        counts = chance.multinomial(pictures, law.ravel())
        labels, predicted = np.divmod(np.repeat(np.arange(size**2), counts), size)
        ours = intervals_of_class_averages(labels, predicted)
        resampled = chance.multinomial(pictures, counts / pictures, RESAMPLES).reshape(-1, size, size)
        cells = np.flatnonzero(counts)
        without = np.tile(counts, (len(cells), 1)) - np.eye(size**2, dtype=int)[cells]
        for name in MEASURES:
            value = float(figure_of(name, counts.reshape(1, size, size))[0])
            draws = figure_of(name, resampled)
            spared = np.repeat(figure_of(name, without.reshape(-1, size, size)), counts[cells])
            made[name]["Wilson by class"].append((ours[name].low, ours[name].high))
            made[name]["percentile bootstrap"].append(tuple(np.quantile(draws, [0.025, 0.975])))
            shift = value - draws.mean()
            made[name]["shifted percentile"].append(tuple(np.quantile(draws + shift, [0.025, 0.975])))
            made[name]["BCa"].append(bca(value, draws, spared))
    return {name: tally(made[name], float(figure_of(name, law[None])[0])) for name in MEASURES}


def bca(value: float, draws: np.ndarray, spared: np.ndarray) -> tuple[float, float]:
    """Efron's bias-corrected and accelerated interval from resamples and leave-one-out figures."""
    bias = stats.norm.ppf(np.clip((draws < value).mean() + (draws == value).mean() / 2, 0.002, 0.998))
    gaps = spared.mean() - spared
    spread = (gaps**2).sum() ** 1.5
    acceleration = (gaps**3).sum() / (6 * spread) if spread else 0.0
    sides = bias + stats.norm.ppf([0.025, 0.975])
    low, high = np.quantile(draws, stats.norm.cdf(bias + sides / (1 - acceleration * sides)))
    return float(low), float(high)


def differences(pictures: int, one: float, other: float, simulations: int) -> dict[str, tuple[float, float]]:
    """Paired: pictures that only one of two runs has right."""
    chance = np.random.default_rng(0)
    made: dict[str, list[tuple[float, float]]] = {"percentile bootstrap": []}
    for _ in range(min(simulations, 1000)):
        gaps = chance.choice([1.0, -1.0, 0.0], pictures, p=[one, other, 1 - one - other])
        found = interval_of_mean(gaps, resamples=RESAMPLES)
        made["percentile bootstrap"].append((found.low, found.high))
    return tally(made, one - other)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
