"""A classifier: uint8 pictures in, one logit a class out; and the plain facts it can be built again from."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models.backbone import Features, build_backbone, feature_count
from pipeline.models.convolutions import speed_up


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


@dataclass(frozen=True)
class NetworkSpec:
    """All that is needed to build a classifier again: known names and numbers, no code."""

    name: str
    n_classes: int
    preprocessing: Preprocessing
    head: HeadSpec = field(default_factory=HeadSpec)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "preprocessing": self.preprocessing.to_dict()}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "NetworkSpec":
        """The inverse of `to_dict`; KeyError or TypeError where a part is missing or unknown."""
        head = plain["head"]
        return cls(
            name=plain["name"],
            n_classes=plain["n_classes"],
            preprocessing=Preprocessing.from_dict(plain["preprocessing"]),
            head=HeadSpec(head["name"], tuple(head["hidden"]), head["dropout"]),
        )


class Classifier(nn.Module):
    """(n, 3, s, s) uint8 -> (n, n_classes). Normalises by itself, so no batch can miss it or get it twice."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", _per_channel(spec.preprocessing.mean), persistent=False)
        self.register_buffer("std", _per_channel(spec.preprocessing.std), persistent=False)
        n_features = feature_count(spec.name, spec.preprocessing.image_size, spec.head.reads)
        self.backbone = build_backbone(spec.name, spec.head.reads)
        self.head = build_head(spec.head, n_features, spec.n_classes)

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """What the backbone makes of (n, 3, s, s) uint8 pictures: (n, features)."""
        pixels = pictures.to(self.mean.dtype) / 255
        return self.backbone((pixels - self.mean) / self.std)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(pictures))


def build_classifier(spec: NetworkSpec) -> Classifier:
    """A classifier with weights left to chance, its convolutions computed the faster way."""
    made = Classifier(spec)
    speed_up(made.backbone)
    return made


def build_head(spec: HeadSpec, n_features: int, n_classes: int) -> nn.Sequential:
    """Dropout before each linear layer, ReLU between them: (n, n_features) -> (n, n_classes)."""
    layers: list[nn.Module] = []
    for width in spec.hidden:
        layers += [nn.Dropout(spec.dropout), nn.Linear(n_features, width), nn.ReLU()]
        n_features = width
    return nn.Sequential(*layers, nn.Dropout(spec.dropout), nn.Linear(n_features, n_classes))


def _per_channel(values: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)
