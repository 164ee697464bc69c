"""Features of a frozen backbone, or of its lower part: computed once, kept in files that every run needing them shares.

A row a picture, NaN where the picture could not be read; memory-mapped, never read whole. A backbone's are float16
(more digits than bf16 has, at half of float32's size); its lower part's lose no digit, as layers follow that learn.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.utils.data import Dataset

from pipeline.common.errors import Stopped
from pipeline.common.progress import watch
from pipeline.config.schema import Engine
from pipeline.data.batch import NOTHING, Batch, Inputs
from pipeline.data.reading.loading import Answer, Request
from pipeline.models.below import Below
from pipeline.models.sight import Sight
from pipeline.training.engine import Instead, asked_through, stand_ins
from pipeline.training.feature_files import FeatureFiles, FeatureRows, SideBySide
from pipeline.training.loop import Batches, layout_of

_AT_ONCE = 500_000_000  # bytes of features, which are in memory while they are made


@dataclass(frozen=True)
class Features:
    """`values` of n pictures, their `labels` (n,) int64 and `rows` (n,) int64 of the table of pictures."""

    values: FeatureRows | SideBySide
    labels: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Way:
    """A backbone that makes features: kept under the key `how`; `batches` shows it the pictures of some rows."""

    how: str
    network: Sight | Below
    batches: Callable[[np.ndarray], Batches]
    kind: torch.dtype = torch.float16


def features_of(
    ways: Sequence[Way],
    files: FeatureFiles,
    *,
    pictures: np.ndarray,
    rows: np.ndarray,
    labels: np.ndarray,
    fabric: Fabric,
    shared: Callable[[int, np.ndarray], np.ndarray] | None = None,
    engine: Engine = "torch",
) -> Features:
    """The features of `pictures` (n,) uint64 by one backbone or by several, as they are kept, or computed and kept now.

    They stand in the `rows` (n,) of the table and have these `labels` (n,). Pictures that could not be read are left
    out. `shared` has several processes compute those of some rows, by the way of that number.
    """

    def found(number: int, way: Way) -> FeatureRows:
        def make(missing: np.ndarray) -> np.ndarray:
            some = rows[missing]
            if shared:
                return shared(number, some)
            return compute_features(
                way.network, way.batches(some), rows=some, fabric=fabric, kind=way.kind, engine=engine
            )

        return files.get_or_make(
            way.how, pictures, make, max(1, _AT_ONCE // (way.network.n_features * way.kind.itemsize))
        )

    columns = [found(*one) for one in enumerate(ways)]
    read = np.logical_and.reduce([column.readable() for column in columns])
    values = columns[0] if len(columns) == 1 else SideBySide(tuple(columns))
    return Features(values.choose(read), labels[read], rows[read])


def compute_features(
    network: Sight | Below, batches: Batches, *, rows: np.ndarray, fabric: Fabric, kind: torch.dtype = torch.float16,
    engine: Engine = "torch",
) -> np.ndarray:  # fmt: skip
    """One pass of the backbone, in evaluation mode: (n, features) of a `kind` in the order of `rows` (n, ascending).

    NaN where a picture could not be read; a single column of it where none could. Stopped where the network itself
    says what is no number, which would pass for such a picture.
    """
    fabric.to_device(network).eval()
    layout = layout_of(network)
    instead: Instead | None = None
    values: np.ndarray | None = None
    for batch in watch(batches, "features"):
        if instead is None:  # by now, as those that read pictures are this process's copies, with all that it has
            sights = [network] if isinstance(network, Sight) else []
            instead = stand_ins(engine, sights, len(rows), len(batch.rows), fabric)
        with torch.inference_mode(), fabric.autocast(), asked_through(instead):
            made = network.features(batch.inputs.to(fabric.device, layout))
        found = made.to("cpu", kind).numpy()
        if not np.isfinite(found).all():
            raise Stopped(
                "the features that the network makes of pictures are no numbers, or too large: try "
                "trainer.precision=fp32, or other weights"
            )
        if values is None:
            values = np.full((len(rows), found.shape[1]), np.nan, found.dtype)
        values[np.searchsorted(rows, batch.rows.numpy())] = found
    return np.full((len(rows), 1), np.nan, np.float16) if values is None else values


class Kept(Dataset[Answer]):
    """Makes batches of what lower parts said of pictures, in the stead of reading these.

    With several `views` each epoch reads the next one.
    """

    def __init__(self, views: Sequence[Features]) -> None:
        self._views = views

    def __getitem__(self, request: Request) -> Answer:
        """Without the pictures that could not be read."""
        view = self._views[(request.epoch - 1) % len(self._views)]
        here = np.isin(request.rows, view.rows)
        rows = request.rows[here]
        below = torch.from_numpy(view.values.choose(np.searchsorted(view.rows, rows)).read())
        labels = torch.from_numpy(request.labels[here])
        return Answer(Batch(Inputs(below=below), labels, torch.from_numpy(rows)), [], "")


class FeatureBatches:
    """Batches of features in an order that depends on (seed, epoch) alone.

    With several `views` (the same pictures, augmented in other ways) each epoch reads the next one. `beside`: what is
    known of all of the table's pictures beside these.
    """

    def __init__(
        self, views: Sequence[Features], *, batch_size: int, shuffle: bool = False, seed: int = 0,
        beside: Inputs = NOTHING,
    ) -> None:  # fmt: skip
        self._beside = beside
        self._views, self._size, self._shuffle, self._seed = views, batch_size, shuffle, seed
        self._epoch, self._start = 1, 0

    @property
    def n_pictures(self) -> int:
        """How many pictures an epoch has."""
        return len(self._view.labels)

    @property
    def _view(self) -> Features:
        return self._views[(self._epoch - 1) % len(self._views)]

    def __len__(self) -> int:
        return math.ceil(self.n_pictures / self._size)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the order of the pictures, the view of them, and the picture that the next pass starts at."""
        self._epoch, self._start = epoch, start

    def __iter__(self) -> Iterator[Batch]:
        view, order = self._view, np.arange(self.n_pictures)
        if self._shuffle:
            order = np.random.default_rng((self._seed, self._epoch)).permutation(order)
        for start in range(self._start, self.n_pictures, self._size):
            chosen = order[start : start + self._size]
            features = torch.from_numpy(view.values.choose(chosen).read().astype(np.float32))
            yield Batch(
                Inputs(features=features).also(self._beside.take(view.rows[chosen])),
                torch.from_numpy(view.labels[chosen]),
                torch.from_numpy(view.rows[chosen]),
                end=start + len(chosen),
            )
