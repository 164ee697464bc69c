"""The classes worth deciding between for each picture, so that learning a rule never needs all 10,000."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from pipeline.ensembles.members import checked
from pipeline.predictions.predictions import TINY, Predictions

CANDIDATES = 100


@dataclass(frozen=True)
class Candidates:
    """Of each picture the likeliest classes by mean probability and, where k is larger, a place for the rest.

    `probabilities` (n, places, M) float32: a member's probability of a candidate, in the last place its mean
    probability of the rest's classes. `sizes` (places,): how many classes a place stands for, 1 but for the
    rest. `truth` (n,): the true class's place. Without a rest the places are the classes, in their order.
    """

    classes: list[str]
    probabilities: np.ndarray
    sizes: np.ndarray
    truth: np.ndarray

    @property
    def members(self) -> int:
        """How many members there are."""
        return self.probabilities.shape[2]

    @property
    def of_truth(self) -> np.ndarray:
        """(n, M) the members' probabilities of the true classes (a mean over the rest, where it is there)."""
        return np.take_along_axis(self.probabilities, self.truth[:, None, None], axis=1)[:, 0]

    def take(self, rows: np.ndarray) -> "Candidates":
        """The same for a choice of pictures (row numbers or a mask)."""
        return replace(self, probabilities=self.probabilities[rows], truth=self.truth[rows])


def candidates(members: Mapping[str, Predictions], most: int = CANDIDATES) -> Candidates:
    """The `most` likeliest classes a picture; exact where there are no more classes than that."""
    runs = list(checked(members).values())
    first, size = runs[0], len(runs[0].classes)
    kept = min(size, most)
    places = kept + (size > kept)
    probabilities = np.empty((len(first), places, len(runs)), dtype=np.float32)
    truth = np.empty(len(first), dtype=np.int64)
    for rows in first.blocks():
        spread = [member.spread(rows) for member in runs]
        chosen = _likeliest(spread, kept)
        for number, member in enumerate(spread):
            held = np.take_along_axis(member, chosen, axis=1)
            probabilities[rows, :kept, number] = held
            if size > kept:
                left = np.maximum(1.0 - held.sum(axis=1), 0.0) / (size - kept)
                probabilities[rows, kept, number] = left
        hit = chosen == first.labels[rows, None]
        truth[rows] = np.where(hit.any(axis=1), hit.argmax(axis=1), kept)
    sizes = np.ones(places)
    sizes[kept:] = size - kept
    return Candidates(first.classes, np.maximum(probabilities, TINY), sizes, truth)


def _likeliest(spread: list[np.ndarray], kept: int) -> np.ndarray:
    """(b, kept) codes of the classes with the largest mean probability, in no order."""
    size = spread[0].shape[1]
    if kept == size:
        return np.broadcast_to(np.arange(size), (len(spread[0]), size))
    # PyTorch's topk is ten times as fast as argpartition where most values are equal.
    total = torch.from_numpy(sum(spread[1:], start=spread[0]))
    return total.topk(kept, dim=1, sorted=False).indices.numpy()
