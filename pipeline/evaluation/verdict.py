"""What a run's curves say, in one sentence: that nothing was learned, or too long, or that it is as it should be.

Losses are weighed as shares of the chance loss (ln K of K classes alike), so that one threshold fits 2 classes and
10,000. What is between the two thresholds of a finding is called doubtful.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

# (doubtful from, clear from), as shares of the chance loss but where it says otherwise
LEARNED = (0.02, 0.05)  # val loss below chance by as much; less is what an unlucky start or a few lucky batches give
RISEN = (0.04, 0.10)  # val loss above its lowest while train loss fell; less comes and goes from epoch to epoch
GAINED = (0.015, 0.03)  # val loss lower in the last quarter of the epochs than ever before; less pays for no epoch more
JUMPED = (0.25, 0.50)  # train loss above its lowest so far; too high a rate throws away half of what was learned
SWUNG = (1, 2)  # times that val loss rose by SWING and came back
SWING = 0.5
DIVERGED = 1.5  # times the chance loss: a train loss there at the end is worse than knowing nothing
BURST = (3.0, 10.0)  # times the chance loss: a first epoch there threw away what the weights knew
SPIKED = 10.0  # times its usual length: a gradient that throws the network about, where nothing is learned
BY_HEART = 0.5  # train loss below this share of chance while val is at chance: learned by heart
STILL = 0.002  # of the chance loss: a train loss that moved less than that was not moved by training
FEWEST_EPOCHS = 3  # two points are no curve
LEVEL = 0.95  # of intervals; for the best of n epochs 1 - (1 - LEVEL) / n, as the best of many is often lucky

TOO_SHORT, AT_CHANCE, UNSTABLE = "too short", "not above chance", "unstable"
OVERFITS, IMPROVING, HEAD_BETTER, SOUND = "overfits", "still improving", "head alone was better", "sound"


@dataclass(frozen=True)
class Chance:
    """What answers that never look at a picture come to on val: `loss`, and `accuracy`, the majority class's share.

    `classes` of them; `pictures` in val.
    """

    loss: float
    accuracy: float
    classes: int
    pictures: int


@dataclass(frozen=True)
class Verdict:
    """One kind of run, whether the curves say so clearly, what was seen and what to try."""

    kind: str
    seen: str
    advice: str = ""
    doubtful: bool = False

    @property
    def tag(self) -> str:
        """The kind, in few words that a filter finds: `overfits`, or `doubtful: overfits`."""
        return f"doubtful: {self.kind}" if self.doubtful else self.kind

    def __str__(self) -> str:
        perhaps = f"doubtful, perhaps {self.kind}" if self.doubtful else self.kind
        return f"{perhaps}: {self.seen}" + (f"; try {self.advice}" if self.advice else "")


@dataclass(frozen=True)
class _Curves:
    """The epochs as columns; `stage` those of the last stage, n of them."""

    every: dict[str, np.ndarray]
    stage: dict[str, np.ndarray]
    chance: Chance
    head_only: bool = False

    @property
    def n(self) -> int:
        return len(self.stage["epoch"])

    def best(self) -> int:
        """Where val accuracy is highest, of equals where val loss is lowest."""
        return int(np.lexsort((self.every["val/loss"], -self.every["val/accuracy"]))[0])

    def interval(self) -> tuple[float, float]:
        """Of the best val accuracy: Wilson's, wider for the best of many epochs."""
        hits = round(float(self.every["val/accuracy"][self.best()]) * self.chance.pictures)
        level = 1 - (1 - LEVEL) / len(self.every["epoch"])
        found = stats.binomtest(min(max(hits, 0), self.chance.pictures), self.chance.pictures)
        ends = found.proportion_ci(level, method="wilson")
        return float(ends.low), float(ends.high)

    def advice(self, *parts: str) -> str:
        """What to try, and the frozen backbone where that is something else."""
        return ", ".join([*parts, *([] if self.head_only else ["regime=frozen"])])

    def accuracy_in_words(self) -> str:
        low, high = self.interval()
        best = float(self.every["val/accuracy"][self.best()])
        many = f", for the best of {len(self.every['epoch'])} epochs" if len(self.every["epoch"]) > 1 else ""
        return f"val accuracy {_percent(best)} % [{_percent(low)}, {_percent(high)}{many}]"


def judge(
    history: Sequence[Mapping[str, float]], chance: Chance, *, stage_began: int = 0, head_only: bool = False,
    fitted: bool = False,
) -> Verdict:  # fmt: skip
    """The verdict on a run: `history` has a row an epoch (`epoch`, `train/loss`, `val/loss`, `val/accuracy`, ...).

    Epochs up to `stage_began` belong to earlier stages of the regime (a head trained first): they count for what
    was learned, not for the shape of the curves. A run of which the head alone learned (`head_only`) is not told to
    be one. One that was `fitted` at once has no curves: it is asked only whether it knows more than chance.
    """
    if not history:
        return Verdict(TOO_SHORT, "no epoch was trained")
    if chance.loss <= 0:
        return Verdict(AT_CHANCE, "all pictures are of one class, so there is nothing to tell apart", "more classes")
    if not_finite := [row["epoch"] for row in history if not all(math.isfinite(row[name]) for name in _NEEDED)]:
        return Verdict(UNSTABLE, f"a loss of epoch {not_finite[0]:g} is no number", _CALMER)
    curves = _Curves(
        _columns(history), _columns([row for row in history if row["epoch"] > stage_began] or history[-1:]), chance,
        head_only,
    )  # fmt: skip
    findings = [found for check in ((_at_chance,) if fitted else _CHECKS) if (found := check(curves))]
    clear = [found for found in findings if not found.doubtful]
    if clear or findings:
        found = (clear or findings)[0]
        return replace(found, advice=_FITTED) if fitted else found
    if curves.n < FEWEST_EPOCHS and not fitted:
        epochs = "1 epoch is" if curves.n == 1 else f"{curves.n} epochs are"
        return Verdict(TOO_SHORT, f"{epochs} no curve; {curves.accuracy_in_words()}", f"trainer.epochs={5 * curves.n}")
    return Verdict(SOUND, _how_it_ended(curves))


def _unstable(curves: _Curves) -> Verdict | None:
    train, val, chance = curves.stage["train/loss"], curves.stage["val/loss"], curves.chance.loss
    jumps = train[1:] - np.minimum.accumulate(train)[:-1]
    jump = float(jumps.max(initial=0.0)) / chance
    burst = float(train[0]) / chance
    if train[-1] > DIVERGED * chance:
        seen = f"train loss ended at {train[-1]:.3g}, worse than knowing nothing ({chance:.3f})"
        return Verdict(UNSTABLE, seen, _CALMER)
    if jump >= JUMPED[0]:
        at = int(jumps.argmax()) + 1
        epoch = curves.stage["epoch"][at]
        seen = f"train loss jumped from {train[:at].min():.3f} to {train[at]:.3f} in epoch {epoch:g}"
        return Verdict(UNSTABLE, seen, _CALMER, doubtful=jump < JUMPED[1])
    if burst >= BURST[0]:
        seen = f"train loss was {train[0]:.3g} in its first epoch, far worse than knowing nothing ({chance:.3f})"
        return Verdict(UNSTABLE, seen, _CALMER, doubtful=burst < BURST[1])
    swings = _swings(val, SWING * chance)
    if swings >= SWUNG[0]:
        times = "once" if swings == 1 else f"{swings} times"
        seen = f"val loss rose by {SWING * chance:.2f} or more and came back, {times}"
        return Verdict(UNSTABLE, seen, f"{_CALMER}, or a larger trainer.batch_size", doubtful=swings < SWUNG[1])
    return None


def _at_chance(curves: _Curves) -> Verdict | None:
    chance, (low, _) = curves.chance, curves.interval()
    lowest = float(curves.every["val/loss"].min())
    learned = 1 - lowest / chance.loss
    one_class = chance.accuracy >= 1  # in val: accuracy tells nothing
    if low > chance.accuracy or (one_class and learned >= LEARNED[1]):
        return None
    seen = (
        f"val loss {lowest:.3f} (knowing nothing: {chance.loss:.3f}), {curves.accuracy_in_words()} "
        f"(always the same answer: {_percent(chance.accuracy)} %)"
    )
    usual, longest = (curves.every.get(name) for name in ("gradient_norm", "gradient_norm_max"))
    if learned >= LEARNED[0]:
        return Verdict(AT_CHANCE, seen, "more trainer.epochs, and more val pictures to be sure", doubtful=True)
    if usual is not None and longest is not None and longest.max() > SPIKED * np.median(usual) > 0:
        times = float(longest.max()) / float(np.median(usual))  # infinite for lengths near 0; NumPy would warn
        return Verdict(UNSTABLE, f"nothing was learned, and gradients of {times:.0f} times their usual length: {seen}",
                       _CALMER)  # fmt: skip
    if curves.every["train/loss"][-1] < BY_HEART * chance.loss:
        seen = f"train loss {curves.every['train/loss'][-1]:.3f} is learned by heart: {seen}"
        return Verdict(AT_CHANCE, seen, curves.advice("whether labels belong to their pictures", "more pictures"))
    train = curves.stage["train/loss"]
    if curves.n > 1 and abs(train[-1] - train[0]) < STILL * chance.loss:
        seen = f"train loss hardly moved ({train[0]:.3f} to {train[-1]:.3f}): {seen}"
        way = (
            "larger, or more" if curves.head_only else "larger or smaller"
        )  # too high a rate can kill a network at once
        return Verdict(AT_CHANCE, seen, curves.advice(f"optimizer.lr ten times {way}"))
    return Verdict(AT_CHANCE, seen, curves.advice("optimizer.lr ten times larger or smaller", "more trainer.epochs"))


def _overfits(curves: _Curves) -> Verdict | None:
    train, val, chance = curves.stage["train/loss"], curves.stage["val/loss"], curves.chance.loss
    lowest = int(val.argmin())
    after = curves.n - 1 - lowest
    if not after or train[-1] >= train[lowest]:
        return None
    ended = float(val[-max(1, after // 2) :].mean())
    risen = (ended - val[lowest]) / chance
    if risen < RISEN[0]:
        return None
    accuracy = curves.stage["val/accuracy"]
    rose_too = accuracy[lowest + 1 :].max() - accuracy[lowest] > _standard_error(accuracy[lowest], curves.chance)
    epoch = curves.stage["epoch"][lowest]
    seen = (
        f"from epoch {epoch:g} on, val loss rose from {val[lowest]:.3f} to {ended:.3f} while train loss fell to "
        f"{train[-1]:.3f}" + (", though val accuracy rose too" if rose_too else "") + f"; {curves.accuracy_in_words()}"
    )
    changed = "augmentation=trivial" + (" with regime.views=8" if curves.head_only else "")
    advice = curves.advice(f"a stronger augmentation ({changed})", f"trainer.epochs={max(epoch, 1):g}")
    return Verdict(OVERFITS, seen, advice, doubtful=risen < RISEN[1] or after == 1 or bool(rose_too))


def _improving(curves: _Curves) -> Verdict | None:
    val, last = curves.stage["val/loss"], max(1, curves.n // 4)
    if curves.n == 1:
        return None
    before, now = float(val[:-last].min()), float(val[-last:].min())
    gained = (before - now) / curves.chance.loss
    if gained < GAINED[0]:
        return None
    epochs = "epoch" if last == 1 else f"{last} epochs"
    seen = f"val loss fell from {before:.3f} to {now:.3f} in the last {epochs}; {curves.accuracy_in_words()}"
    return Verdict(IMPROVING, seen, f"trainer.epochs={2 * curves.n}", doubtful=gained < GAINED[1])


def _head_better(curves: _Curves) -> Verdict | None:
    best, accuracy = curves.best(), curves.stage["val/accuracy"].max()
    if curves.every["epoch"][best] >= curves.stage["epoch"][0]:
        return None
    lost = curves.every["val/accuracy"][best] - accuracy
    error = _standard_error(curves.every["val/accuracy"][best], curves.chance)
    if lost < error:
        return None
    seen = f"training all of it lowered the best val accuracy by {100 * lost:.1f} points; {curves.accuracy_in_words()}"
    advice = "a smaller optimizer.lr (with a larger regime.head_lr) or regime=frozen"
    return Verdict(HEAD_BETTER, seen, advice, doubtful=lost < 2 * error or curves.n < FEWEST_EPOCHS)


_FITTED = "more pictures, another network or another head"
_CALMER = "a smaller optimizer.lr, trainer.clip_norm=1 or scheduler.warmup_epochs=1"
_CHECKS: tuple[Callable[[_Curves], Verdict | None], ...] = (_unstable, _at_chance, _overfits, _improving, _head_better)


def _how_it_ended(curves: _Curves) -> str:
    val, best = curves.stage["val/loss"], curves.every["epoch"][curves.best()]
    return (
        f"val loss settled at {val[-1]:.3f} (knowing nothing: {curves.chance.loss:.3f}); {curves.accuracy_in_words()} "
        f"at epoch {best:g}, always the same answer has {_percent(curves.chance.accuracy)} %"
    )


def _swings(values: np.ndarray, least: float) -> int:
    """How often values rose by `least` above a low and then fell by as much from the high."""
    count, rising, turn = 0, False, values[0]
    for value in values:
        if rising:
            turn = max(turn, value)
            if turn - value >= least:
                count, rising, turn = count + 1, False, value
        else:
            turn = min(turn, value)
            if value - turn >= least:
                rising, turn = True, value
    return count


def _standard_error(accuracy: float, chance: Chance) -> float:
    share = min(max(float(accuracy), 0.5 / chance.pictures), 1 - 0.5 / chance.pictures)
    return math.sqrt(share * (1 - share) / chance.pictures)


_NEEDED = ("train/loss", "val/loss", "val/accuracy")


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    """Those that every row has: a run that goes on may have begun before some were kept."""
    shared = set(rows[0]).intersection(*rows)
    return {name: np.array([row[name] for row in rows], dtype=float) for name in shared}


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
