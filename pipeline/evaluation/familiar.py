"""What a network's features of known pictures are like: the mean of each class, and along what they vary.

The distance of a picture is one less the cosine to the nearest mean of the classes that the network takes it for: the
mean tells what is strange as well as the nearest training pictures do (`bench/unseen.py`), is one row a class and takes
no search. Features that are never negative are spread by their square roots first, as
`pipeline.models.heads.fitted.Rooted` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, load_file, save_file

from pipeline.common.atomic import write_atomically
from pipeline.common.errors import BadInput

AXES = 16  # the directions that are looked along where sets of pictures are compared
_MOST = 500  # pictures that they are found from
_LIKELIEST = 16  # classes whose means a picture is compared with


class Looks(NamedTuple):
    """Of n pictures the `distance` (n,) to the nearest of the likeliest classes, and where `along` the axes (n, p) they
    lie. float32.
    """

    distance: np.ndarray
    along: np.ndarray

    def take(self, rows: np.ndarray) -> "Looks":
        """Those of some of the pictures."""
        return Looks(self.distance[rows], self.along[rows])


def together(several: list[Looks]) -> Looks:
    """The pictures of all, one after the other; at least one."""
    return Looks(*(np.concatenate(parts) for parts in zip(*several, strict=True)))


@dataclass(frozen=True, eq=False)
class Familiar:
    """`means` (k, d) of length one, 0 for a class without pictures; `centre` (d,) and `axes` (p, d), the directions in
    which known pictures vary most; `rooted`: whether roots are taken. All float32.
    """

    means: np.ndarray
    centre: np.ndarray
    axes: np.ndarray
    rooted: bool

    @classmethod
    def of(cls, features: np.ndarray, labels: np.ndarray, classes: int) -> "Familiar":
        """That of training pictures: features (n, d) and labels (n,) of so many classes."""
        rooted = bool((features >= 0).all())
        spread = _spread(features, rooted)
        sums = np.zeros((classes, spread.shape[1]), np.float32)
        np.add.at(sums, labels, spread)
        centre = spread.mean(axis=0)
        return cls(_of_length_one(sums), centre, _axes(spread[:: -(-len(spread) // _MOST)] - centre), rooted)

    def looks(self, features: np.ndarray, scores: np.ndarray) -> Looks:
        """Of features (n, d) and what the network makes of them, scores (n, k) of classes; a distance of 0 is as alike
        as can be, 1 has nothing in common.
        """
        spread = _spread(features, self.rooted)
        unit, classes = _of_length_one(spread), scores.shape[1]
        if classes <= _LIKELIEST:
            cosines = unit @ self.means.T
        else:
            likeliest = np.argpartition(scores, classes - _LIKELIEST, axis=1)[:, -_LIKELIEST:]
            cosines = (self.means[likeliest] @ unit[:, :, None])[:, :, 0]
        return Looks(1 - cosines.max(axis=1), (spread - self.centre) @ self.axes.T)


@dataclass(frozen=True, eq=False)
class Usual:
    """Of m pictures the `confidence` (m,), and the looks of their features where there are some."""

    confidence: np.ndarray
    looks: Looks | None


def write_familiar(file: Path, familiar: Familiar | None, further: Mapping[str, np.ndarray]) -> None:
    """Write it with `further` arrays by name, whole or not at all. The means take half the room: float16."""
    made = dict(further)
    if familiar is not None:
        made |= {"means": familiar.means.astype(np.float16), "centre": familiar.centre, "axes": familiar.axes}
        made |= {"rooted": np.array([familiar.rooted])}
    plain = {name: np.ascontiguousarray(array) for name, array in made.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, lambda path: save_file(plain, path), shared=True)


def read_familiar(stored: Path | bytes) -> tuple[Familiar | None, dict[str, np.ndarray]]:
    """What `write_familiar` wrote: its file, or the bytes of that. BadInput where it is damaged."""
    try:
        found = load(stored) if isinstance(stored, bytes) else load_file(stored)
        if "means" not in found:
            return None, found
        means, centre, axes, rooted = (found.pop(name) for name in ("means", "centre", "axes", "rooted"))
    except (OSError, SafetensorError, KeyError) as error:
        file = "what it knows of known pictures" if isinstance(stored, bytes) else stored
        raise BadInput(f"{file} is missing or damaged ({str(error).splitlines()[0]}): train the run again") from None
    return Familiar(means.astype(np.float32), centre, axes, bool(rooted[0])), found


def _axes(rows: np.ndarray) -> np.ndarray:
    """(p, d) principal directions of centred rows (m, d), by the smaller of their two products."""
    if len(rows) < rows.shape[1]:
        return _of_length_one(np.linalg.eigh(rows @ rows.T)[1][:, : -AXES - 1 : -1].T @ rows)
    return np.ascontiguousarray(np.linalg.eigh(rows.T @ rows)[1][:, : -AXES - 1 : -1].T)


def _spread(features: np.ndarray, rooted: bool) -> np.ndarray:
    values = features.astype(np.float32)
    return np.sqrt(np.maximum(values, 0)) if rooted else values


def _of_length_one(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
