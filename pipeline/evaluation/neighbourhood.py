"""What a picture's neighbours by features say of it: its class, a wrong label, a copy, that it is like no other."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.common.errors import BadInput
from pipeline.data.survey.neighbours import nearest


@dataclass(frozen=True)
class Neighbourhood:
    """`near` (n, k): the places of each picture's nearest, nearest first; `cosine` (n, k): how alike they are; `labels`
    (n,): class codes of the pictures.
    """  # fmt: skip

    near: np.ndarray
    cosine: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, labels: np.ndarray, count: int, groups: np.ndarray) -> "Neighbourhood":
        """The `count` nearest of each picture by its features (n, d); those of its group (n,) int64 are left out.

        BadInput where a picture has no other.
        """
        most = len(values) - np.bincount(groups).max(initial=0)
        if most < 1:
            raise BadInput("too few pictures to compare: two that do not belong together are wanted")
        return cls(*nearest(values, count=min(count, most), groups=groups), labels)

    def answers(self, k: int) -> np.ndarray:
        """(n,) class codes: what most of the k nearest are; of equally many, the nearest's. Cover and Hart 1967."""
        said = self.labels[self.near[:, :k]]
        alike = (said[:, :, None] == said[:, None, :]).sum(axis=2)
        return said[np.arange(len(said)), alike.argmax(axis=1)]

    def correct(self, k: int) -> np.ndarray:
        """(n,) bool: whether the answer of the k nearest is the label, each picture left out in its turn."""
        return self.answers(k) == self.labels

    @cached_property
    def doubt(self) -> np.ndarray:
        """(n,): by how much more alike, summed over the k nearest, is the class that they answer than the label's.

        0 where they answer the label.
        """
        said = self.labels[self.near]
        weight = np.maximum(self.cosine, 0)
        other = (weight * (said == self.answers(said.shape[1])[:, None])).sum(axis=1)
        own = (weight * (said == self.labels[:, None])).sum(axis=1)
        return np.maximum(other - own, 0)

    def doubtful(self) -> np.ndarray:
        """Places of pictures whose neighbours are of another class, the likeliest wrong labels first."""
        order = np.argsort(-self.doubt, kind="stable")
        return order[self.doubt[order] > 0]

    def copies(self, least: float) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of neighbours at a cosine of `least` and up, (m, 2) places, and cosines (m,), the most alike first."""
        place, rank = np.nonzero(self.cosine >= least)
        pairs, first = np.unique(np.sort(np.stack([place, self.near[place, rank]], axis=1)), axis=0, return_index=True)
        cosine = self.cosine[place, rank][first]
        order = np.argsort(-cosine, kind="stable")
        return pairs[order], cosine[order]

    @property
    def company(self) -> np.ndarray:
        """(n,): the mean cosine of a picture's neighbours."""
        return self.cosine.mean(axis=1)

    def solitary(self) -> np.ndarray:
        """Places of all pictures, those least like any other first."""
        return np.argsort(self.company, kind="stable")
