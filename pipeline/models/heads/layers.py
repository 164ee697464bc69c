"""Heads that learn by gradient."""

from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from pipeline.models.backbone import Features


class Layers(nn.Sequential):
    """Dropout before each linear layer, ReLU between them: (n, n_features) -> (n, n_classes)."""

    reads: ClassVar[Features] = "pooled"

    def __init__(self, n_features: int, n_classes: int, hidden: Sequence[int] = (), dropout: float = 0.0) -> None:
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Dropout(dropout), nn.Linear(n_features, width), nn.ReLU()]
            n_features = width
        super().__init__(*layers, nn.Dropout(dropout), nn.Linear(n_features, n_classes))


class LayersOnTheMap(Layers):
    """The same on all of the feature map: nothing is averaged away."""

    reads: ClassVar[Features] = "map"
