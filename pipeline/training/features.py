"""Features of a frozen backbone, computed once, and batches of them for the head."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from pipeline.data.loading import Batch
from pipeline.models.classifier import Classifier
from pipeline.training.loop import Batches, Watch, to_device


@dataclass(frozen=True)
class Features:
    """`values` (n, features) float16, `labels` (n,) int64 and `rows` (n,) int64 of the table of pictures.

    float16 holds what bf16 arithmetic gives, in half of float32's space.
    """

    values: np.ndarray
    labels: np.ndarray
    rows: np.ndarray


@torch.inference_mode()
def compute_features(
    network: Classifier, batches: Batches, *, fabric: Fabric, watch: Watch = lambda items, _what: items
) -> Features:
    """One pass of the backbone, in evaluation mode, over pictures."""
    backbone = fabric.setup_module(_Backbone(network).eval())
    values: np.ndarray | None = None
    labels = np.empty(batches.n_pictures, np.int64)
    rows = np.empty(batches.n_pictures, np.int64)
    done = 0
    for batch in watch(batches, "features"):
        inputs, _ = to_device(batch, fabric.device)
        found = backbone(inputs).to("cpu", torch.float16).numpy()
        if values is None:
            values = np.empty((batches.n_pictures, found.shape[1]), np.float16)
        here = slice(done, done + len(found))
        values[here], labels[here], rows[here] = found, batch.labels.numpy(), batch.rows.numpy()
        done += len(found)
    if values is None:
        values = np.empty((0, 0), np.float16)
    return Features(
        values[:done], labels[:done], rows[:done]
    )  # pictures that could not be read are not there


class _Backbone(nn.Module):
    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.network.features(pictures)


class FeatureBatches:
    """Batches of features in an order that depends on (seed, epoch) alone; all in memory or memory-mapped."""

    def __init__(self, features: Features, *, batch_size: int, shuffle: bool = False, seed: int = 0) -> None:
        self._features, self._size, self._shuffle, self._seed = features, batch_size, shuffle, seed
        self.n_pictures = len(features.labels)
        self._epoch = 0

    def __len__(self) -> int:
        return math.ceil(self.n_pictures / self._size)

    def set_epoch(self, epoch: int) -> None:
        """The order of this epoch's pictures."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        order = np.arange(self.n_pictures)
        if self._shuffle:
            order = np.random.default_rng((self._seed, self._epoch)).permutation(order)
        for start in range(0, self.n_pictures, self._size):
            chosen = order[start : start + self._size]
            yield Batch(
                torch.from_numpy(self._features.values[chosen].astype(np.float32)),
                torch.from_numpy(self._features.labels[chosen]),
                torch.from_numpy(self._features.rows[chosen]),
            )
