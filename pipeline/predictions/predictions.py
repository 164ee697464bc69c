"""What a network answered for every picture of a split: the one thing metrics, plots and ensembles read.

Logits are kept, not probabilities: nothing is lost to rounding, and a temperature can be fitted later.
Up to `DENSE_CLASSES` classes all of them are kept (dense). Above, a picture keeps its `LARGEST` largest
logits, the true class's, and of all the rest only their log-sum-exp and their mean (sparse).

What that costs: probabilities of kept classes, the predicted class, top-k up to `LARGEST`, log loss,
calibration error and everything else read off the predicted and the true class are exact to float32.
Estimated are the rest's share after a change of temperature, and the probability of one class of the rest.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import logsumexp

from pipeline.common.errors import BadInput

DENSE_CLASSES = 1_000
LARGEST = 100
BLOCK_VALUES = 1_000_000
TINY = float(np.finfo(np.float32).tiny)  # the least probability whose logarithm is taken


@dataclass(frozen=True)
class Rest:
    """What is known of the logits that a sparse picture does not keep, `count` of them a picture.

    `logsumexp` and `mean` are (n,) float32.
    """

    count: int
    logsumexp: np.ndarray
    mean: np.ndarray

    def at_temperature(self, temperature: float) -> np.ndarray:
        """(n,) estimated log-sum-exp of the rest's logits / temperature.

        As a function of b = 1/temperature it is log(count) at b = 0 with slope `mean`, and `logsumexp` at
        b = 1: the parabola through these, exact where b = 1 and where the rest's logits are normal.
        """
        inverse = 1.0 / temperature
        base = np.log(self.count)
        curvature = np.maximum(self.logsumexp - base - self.mean, 0.0)
        return base + inverse * self.mean + inverse**2 * curvature

    def take(self, rows: np.ndarray) -> "Rest":
        """The same for a choice of pictures."""
        return replace(self, logsumexp=self.logsumexp[rows], mean=self.mean[rows])


@dataclass(frozen=True, eq=False)
class Predictions:
    """The logits of n pictures over k classes.

    `ids` (n,) text, `labels` (n,) int64 class codes, `classes` k names in their fixed order.
    Dense: `logits` (n, k) float32, a column a class; `columns` and `rest` are None.
    Sparse: `logits` (n, w) float32, largest first; `columns` (n, w) their class codes, the true one always
    among them; `rest` tells of the other k - w.
    """

    ids: np.ndarray
    labels: np.ndarray
    classes: list[str]
    logits: np.ndarray
    columns: np.ndarray | None = None
    rest: Rest | None = None

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.labels) == len(self.logits):
            raise ValueError(f"{len(self.ids)} ids, {len(self.labels)} labels and {len(self.logits)} rows of logits")
        if len(self) and not (self.labels.min() >= 0 and self.labels.max() < len(self.classes)):
            raise ValueError(f"labels must be codes from 0 to {len(self.classes) - 1}")
        if (self.columns is None) != (self.rest is None):
            raise ValueError("sparse predictions need both columns and rest")
        if self.columns is None and self.logits.shape != (len(self.ids), len(self.classes)):
            raise ValueError(f"{self.logits.shape[1]} columns of logits for {len(self.classes)} classes")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_sparse(self) -> bool:
        """Whether only the largest logits are kept."""
        return self.columns is not None

    @cached_property
    def log_normaliser(self) -> np.ndarray:
        """(n,) float64 log-sum-exp over all k classes."""
        kept = np.empty(len(self))
        for rows in self.blocks():
            kept[rows] = logsumexp(self.logits[rows].astype(np.float64), axis=1)
        return kept if self.rest is None else np.logaddexp(kept, self.rest.logsumexp)

    @cached_property
    def predicted(self) -> np.ndarray:
        """(n,) int64 codes of the likeliest classes; of equals, the first kept."""
        best = self.logits.argmax(axis=1)
        if self.columns is None:
            return best
        return np.take_along_axis(self.columns, best[:, None], axis=1)[:, 0].astype(np.int64)

    @cached_property
    def correct(self) -> np.ndarray:
        """(n,) bool: whether the likeliest class is the true one."""
        return self.predicted == self.labels

    @cached_property
    def confidence(self) -> np.ndarray:
        """(n,) float64 probability of the predicted class."""
        return np.exp(self.logits.max(axis=1, initial=-np.inf) - self.log_normaliser)

    @cached_property
    def true_slot(self) -> np.ndarray:
        """(n,) the column of `logits` in which the true class stands."""
        return self.labels if self.columns is None else (self.columns == self.labels[:, None]).argmax(axis=1)

    @cached_property
    def true_log_probability(self) -> np.ndarray:
        """(n,) float64 log-probability of the true class."""
        true_logit = np.take_along_axis(self.logits, self.true_slot[:, None], axis=1)[:, 0]
        return true_logit - self.log_normaliser

    def log_probabilities(self) -> np.ndarray:
        """(n, k) float64 when dense; (n, w) of the kept classes when sparse."""
        return self.logits - self.log_normaliser[:, None]

    def probabilities(self) -> np.ndarray:
        """(n, k) float64 when dense; (n, w) of the kept classes when sparse, which sum to less than one."""
        return np.exp(self.log_probabilities())

    def blocks(self) -> Iterator[slice]:
        """Row ranges that cover all pictures, each small enough to be held as a (rows, k) array."""
        step = max(1, BLOCK_VALUES // len(self.classes))
        for start in range(0, len(self), step):
            yield slice(start, min(start + step, len(self)))

    def spread(self, rows: slice) -> np.ndarray:
        """(b, k) float32 probabilities of some rows, which sum to one.

        Sparse: the `LARGEST` are exact, all other classes share what is left evenly. The last kept column
        counts among the others, as it may be there only for being the true class: nothing made from this
        array has seen the labels.
        """
        kept = np.exp(self.logits[rows] - self.log_normaliser[rows, None]).astype(np.float32)
        if self.columns is None:
            return kept
        kept = kept[:, :-1]
        others = len(self.classes) - kept.shape[1]
        share = np.maximum(1.0 - kept.sum(axis=1, keepdims=True), 0.0) / others
        dense = np.empty((len(kept), len(self.classes)), dtype=np.float32)
        dense[:] = share
        np.put_along_axis(dense, self.columns[rows, :-1], kept, axis=1)
        return dense

    def true_rank(self) -> np.ndarray:
        """(n,) how many classes stand before the true one, 0 where it is the predicted class.

        Sparse: exact up to `LARGEST`; a true class further down is given `LARGEST`.
        """
        if self.columns is not None:
            return self.true_slot
        true_logit = np.take_along_axis(self.logits, self.labels[:, None], axis=1)
        earlier = np.arange(len(self.classes)) < self.labels[:, None]
        return ((self.logits > true_logit) | ((self.logits == true_logit) & earlier)).sum(axis=1)

    def at_temperature(self, temperature: float) -> "Predictions":
        """The same with every logit divided by `temperature` (> 0); sparse: see `Rest.at_temperature`."""
        rest = self.rest and replace(
            self.rest,
            logsumexp=self.rest.at_temperature(temperature).astype(np.float32),
            mean=(self.rest.mean / np.float32(temperature)),
        )
        return replace(self, logits=self.logits / np.float32(temperature), rest=rest)

    def take(self, rows: np.ndarray) -> "Predictions":
        """The same for a choice of pictures (row numbers or a mask)."""
        return replace(
            self,
            ids=self.ids[rows],
            labels=self.labels[rows],
            logits=self.logits[rows],
            columns=None if self.columns is None else self.columns[rows],
            rest=self.rest and self.rest.take(rows),
        )

    def check_usable(self, name: str = "the predictions") -> None:
        """Raise BadInput where there is nothing to score, or a logit is no finite number.

        Minus infinity is none either: it makes a log loss infinite and a temperature or stacking NaN, and a network
        gets it by running over, as infinity.
        """
        if not len(self):
            raise BadInput(f"{name} hold no picture: choose a split that has pictures")
        bad = ~np.isfinite(self.logits).all(axis=1)
        bad |= ~np.isfinite(self.log_normaliser)
        if bad.any():
            first = self.ids[bad.argmax()]
            raise BadInput(
                f"{name} hold NaN or infinite values for {bad.sum()} of {len(self)} pictures "
                f"(first: {first}): the network diverged; train it again with a lower optimizer.lr"
            )


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of different pictures, one after the other; all of one kind, with the same classes."""
    first = parts[0]

    def stacked(values: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate(list(values))

    rests = [part.rest for part in parts if part.rest is not None]
    columns = [part.columns for part in parts if part.columns is not None]
    return replace(
        first,
        ids=stacked(part.ids for part in parts),
        labels=stacked(part.labels for part in parts),
        logits=stacked(part.logits for part in parts),
        columns=stacked(columns) if columns else None,
        rest=first.rest
        and replace(
            first.rest,
            logsumexp=stacked(rest.logsumexp for rest in rests),
            mean=stacked(rest.mean for rest in rests),
        ),
    )
