"""Features of a frozen backbone: computed once, kept in a file that every run needing the same shares.

A file holds one split's features as an `.npy` of float16 (what bf16 arithmetic gives fits in it, at half of
float32's size), a row a picture, NaN where the picture could not be read. It is memory-mapped, never read whole.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from pipeline.data.loading import Batch
from pipeline.models.classifier import Classifier
from pipeline.training.feature_files import FeatureFiles
from pipeline.training.loop import Batches, Watch, to_device


@dataclass(frozen=True)
class Features:
    """`values` (n, features) float16, `labels` (n,) int64 and `rows` (n,) int64 of the table of pictures."""

    values: np.ndarray
    labels: np.ndarray
    rows: np.ndarray


def features_of(
    key: str,
    files: FeatureFiles,
    network: Classifier,
    batches: Callable[[], Batches],
    *,
    rows: np.ndarray,
    labels: np.ndarray,
    fabric: Fabric,
    watch: Watch,
) -> Features:
    """The features of the pictures `rows`, out of the file of that key, or computed and kept there.

    `labels` (n,) belong to `rows` (n,). Pictures that could not be read are left out.
    """
    values = files.get_or_make(key, lambda: compute_features(network, batches(), rows=rows, fabric=fabric, watch=watch))
    read = ~np.isnan(values[:, 0]) if len(values) else np.ones(0, bool)
    if read.all():
        return Features(values, labels, rows)
    return Features(values[read], labels[read], rows[read])


@torch.inference_mode()
def compute_features(
    network: Classifier, batches: Batches, *, rows: np.ndarray, fabric: Fabric, watch: Watch
) -> np.ndarray:
    """One pass of the backbone, in evaluation mode: (n, features) float16 in the order of `rows` (n, ascending)."""
    backbone = fabric.setup_module(_Backbone(network).eval())
    values: np.ndarray | None = None
    for batch in watch(batches, "features"):
        inputs, _ = to_device(batch, fabric.device)
        found = backbone(inputs).to("cpu", torch.float16).numpy()
        if values is None:
            values = np.full((len(rows), found.shape[1]), np.nan, np.float16)
        values[np.searchsorted(rows, batch.rows.numpy())] = found
    return np.empty((0, 0), np.float16) if values is None else values


class _Backbone(nn.Module):
    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.network.features(pictures)


class FeatureBatches:
    """Batches of features in an order that depends on (seed, epoch) alone.

    With several `views` (the same pictures, augmented in other ways) each epoch reads the next one.
    """

    def __init__(self, views: Sequence[Features], *, batch_size: int, shuffle: bool = False, seed: int = 0) -> None:
        self._views, self._size, self._shuffle, self._seed = views, batch_size, shuffle, seed
        self._epoch = 1

    @property
    def n_pictures(self) -> int:
        """How many pictures an epoch has."""
        return len(self._view.labels)

    @property
    def _view(self) -> Features:
        return self._views[(self._epoch - 1) % len(self._views)]

    def __len__(self) -> int:
        return math.ceil(self.n_pictures / self._size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the pictures, and the view of them."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        view, order = self._view, np.arange(self.n_pictures)
        if self._shuffle:
            order = np.random.default_rng((self._seed, self._epoch)).permutation(order)
        for start in range(0, self.n_pictures, self._size):
            chosen = order[start : start + self._size]
            yield Batch(
                torch.from_numpy(view.values[chosen].astype(np.float32)),
                torch.from_numpy(view.labels[chosen]),
                torch.from_numpy(view.rows[chosen]),
            )
