"""Heads: what stands on a backbone's features, and answers with a logit a class."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from pipeline.models.backbone import Features


@dataclass(frozen=True)
class HeadSpec:
    """What stands on the features: `linear`, `mlp` with hidden layers, or `flatten` (linear on the whole map)."""

    name: Literal["linear", "mlp", "flatten"] = "linear"
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0

    @property
    def reads(self) -> Features:
        """Which features of the backbone it reads."""
        return "map" if self.name == "flatten" else "pooled"


def build_head(spec: HeadSpec, n_features: int, n_classes: int) -> nn.Sequential:
    """Dropout before each linear layer, ReLU between them: (n, n_features) -> (n, n_classes)."""
    layers: list[nn.Module] = []
    for width in spec.hidden:
        layers += [nn.Dropout(spec.dropout), nn.Linear(n_features, width), nn.ReLU()]
        n_features = width
    return nn.Sequential(*layers, nn.Dropout(spec.dropout), nn.Linear(n_features, n_classes))
