"""A finished run as a comparison knows it: its choices and its scores, small enough to hold for hundreds of runs."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.comparison.choices import telling_keys
from pipeline.config.keys import BOOTSTRAP, REPEATS, SPLIT
from pipeline.evaluation.metrics import summary
from pipeline.evaluation.statistics import Interval, intervals_of_class_averages
from pipeline.predictions.predictions import Predictions

_SHOWN_DIGITS = 7  # of a digest


@dataclass(frozen=True)
class Score:
    """What is kept of a run's predictions.

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
    """A finished run: its id and name, the answers to its config's keys, scores on val and test, and what it cost."""

    id: str
    name: str
    choices: Mapping[str, str]
    classes: tuple[str, ...]
    data: str  # the digest of the table it was trained on
    val: Score
    test: Score | None = None
    cost: Mapping[str, float] = field(default_factory=dict)
    typed: frozenset[str] = frozenset()  # keys that the user gave on the command line
    trained_on: int | None = None  # pictures
    files: str = ""  # the digest of what lies beside the pictures: boxes, columns, attributes, weights

    def on(self, split: str) -> Score | None:
        """Its score on val or test."""
        return self.val if split == "val" else self.test

    @property
    def repeat(self) -> tuple[str, ...]:
        """Which repetition of its choice it is."""
        return tuple(self.choices.get(key, "").zfill(9) for key in REPEATS)  # so that 2 stands before 10

    @property
    def partition(self) -> str:
        """Which pictures were held out from it."""
        return f"{self.val.pictures} {self.test.pictures if self.test else ''}"

    @property
    def split_seed(self) -> str:
        """Of the split that it is on."""
        return self.choices.get(SPLIT, "")

    @property
    def folds(self) -> bool:
        """Whether its val is one fold of several."""
        return self.choices.get("data.split.folds", "None") != "None"

    @property
    def resampled(self) -> bool:
        """Whether its table differs from the whole set's by what a key says: its digest then tells nothing."""
        bootstrapped = self.choices.get(BOOTSTRAP, "None") != "None"
        few = self.choices.get("data.per_class", "None") != "None"
        return self.folds or bootstrapped or few or float(self.choices.get("data.fraction", 1)) < 1


def score(predictions: Predictions) -> Score:
    """Reduce predictions to what is compared. BadInput for NaN, no pictures, or a picture twice."""
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


def by_choice(entrants: Sequence[Entrant]) -> tuple[list[str], dict[tuple[str, ...], list[Entrant]]]:
    """The keys that set runs apart, but for those that repeat a choice, and the runs by their answers to these.

    `files` is one of them where the same was done with other files of the same names.
    """
    plain = [{key: value for key, value in one.choices.items() if key not in REPEATS} for one in entrants]
    keys = telling_keys(plain, frozenset().union(*(one.typed for one in entrants)))
    together = defaultdict(list)
    for one in entrants:
        together[tuple(one.choices.get(key, "") for key in keys)].append(one)
    if not any(map(_of_other_files, together.values())):
        return keys, dict(together)
    apart = defaultdict(list)
    for answers, runs in together.items():
        for one in runs:
            apart[(*answers, one.files[:_SHOWN_DIGITS])].append(one)
    return [*keys, "files"], dict(apart)


def _of_other_files(runs: Sequence[Entrant]) -> bool:
    """Whether runs of one choice are no repeats: one of them was done again with other files."""
    known = {(one.repeat, one.files) for one in runs if one.files}
    return len(known) > len({repeat for repeat, _ in known})
