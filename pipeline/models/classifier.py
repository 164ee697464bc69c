"""A classifier: pictures in, one logit a class out; and the plain facts it can be built again from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from pipeline.data.batch import Inputs
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models.backbone import build_backbone
from pipeline.models.convolutions import speed_up
from pipeline.models.heads.registry import HeadSpec
from pipeline.models.sizes import sized


@dataclass(frozen=True)
class NetworkSpec:
    """All that is needed to build a classifier again: known names and numbers, no code."""

    name: str
    n_classes: int
    preprocessing: Preprocessing
    head: HeadSpec = field(default_factory=HeadSpec)
    options: Mapping[str, Any] = field(default_factory=dict)  # of the library's own network, where it has any

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        plain = {
            "name": self.name,
            "n_classes": self.n_classes,
            "preprocessing": self.preprocessing.to_dict(),
            "head": self.head.to_dict(),
        }
        return plain | ({"options": dict(self.options)} if self.options else {})

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "NetworkSpec":
        """The inverse of `to_dict`; KeyError or TypeError where a part is missing or unknown."""
        return cls(
            name=plain["name"],
            n_classes=plain["n_classes"],
            preprocessing=Preprocessing.from_dict(plain["preprocessing"]),
            head=HeadSpec.from_dict(plain["head"]),
            options=plain.get("options", {}),
        )


class Classifier(nn.Module):
    """`Inputs` -> (n, n_classes) logits. Normalises by itself, so no batch can miss it or get it twice."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", _per_channel(spec.preprocessing.mean), persistent=False)
        self.register_buffer("std", _per_channel(spec.preprocessing.std), persistent=False)
        fits = sized(spec.name, spec.preprocessing.image_size, spec.head.kind.reads, spec.options)
        self.backbone = build_backbone(spec.name, spec.head.kind.reads, fits.options)
        self.head = spec.head.build(fits.features, spec.n_classes)

    def features(self, inputs: Inputs) -> torch.Tensor:
        """(n, features): those that are kept, else what the backbone makes of the pixels."""
        if inputs.features is not None:
            return inputs.features
        assert inputs.pixels is not None
        pixels = inputs.pixels.to(self.mean.dtype) / 255
        return self.backbone((pixels - self.mean) / self.std)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        return self.head(self.features(inputs))


def build_classifier(spec: NetworkSpec) -> Classifier:
    """A classifier with weights left to chance, its convolutions computed the faster way."""
    made = Classifier(spec)
    speed_up(made.backbone)
    return made


def _per_channel(values: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)
