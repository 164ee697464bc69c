"""From pictures to features: a backbone and how pictures are shown to it, or several of these side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from pipeline.data.batch import Inputs
from pipeline.data.reading.preprocessing import Joined, Preprocessing
from pipeline.models.backbone import Features, build_backbone
from pipeline.models.convolutions import speed_up
from pipeline.models.sizes import sized


@dataclass(frozen=True)
class Part:
    """A backbone by its name, the `options` of its library for it where it has any, and how it sees pictures."""

    name: str
    preprocessing: Preprocessing
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        plain = {"name": self.name, "preprocessing": self.preprocessing.to_dict()}
        return plain | ({"options": dict(self.options)} if self.options else {})

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Part":
        """The inverse of `to_dict`; KeyError or TypeError where something is missing or unknown."""
        return cls(plain["name"], Preprocessing.from_dict(plain["preprocessing"]), plain.get("options", {}))


class Sight(nn.Module):
    """`Inputs` -> (n, features). Normalises by itself, so no batch can miss it or get it twice.

    Of several parts `backbone` is a `SideBySide`, whose features stand one after the other.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, parts: Sequence[Part], reads: Features) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self.above: Callable[[torch.Tensor], torch.Tensor] | None = None  # its upper part alone, while the rest is kept
        self.instead: Callable[[torch.Tensor], torch.Tensor] | None = None  # of its backbone, while that is asked so
        if len(parts) > 1:
            self.backbone: nn.Module = SideBySide([Sight([part], reads) for part in parts])
            self.n_features: int = sum(sight.n_features for sight in self.sights)
            return
        (part,) = parts
        self.register_buffer("mean", _per_channel(part.preprocessing.mean), persistent=False)
        self.register_buffer("std", _per_channel(part.preprocessing.std), persistent=False)
        fits = sized(part.name, part.preprocessing.image_size, reads, part.options)
        self.backbone, self.n_features = build_backbone(part.name, reads, fits.options), fits.features

    @property
    def sights(self) -> "tuple[Sight, ...]":
        """One a part: itself, where there is one."""
        # A ModuleList cannot say of which modules it is, and must be one, so that PyTorch finds their weights.
        return tuple(self.backbone.sights) if isinstance(self.backbone, SideBySide) else (self,)  # type: ignore[arg-type]

    def features(self, inputs: Inputs) -> torch.Tensor:
        """(n, features): those that are kept, else what the backbone makes of the pixels, or of what is kept of it."""
        if inputs.features is not None:
            return inputs.features
        if inputs.below is not None:
            assert self.above
            return self.above(inputs.below)
        assert inputs.pixels is not None
        if self.instead is not None:
            return self.instead(inputs.pixels)
        if isinstance(self.backbone, SideBySide):
            return self.backbone(inputs.pixels)
        return self.backbone(self.normalised(inputs.pixels))

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, 3, s, s), of pixels (n, 3, s, s) uint8, as the backbone wants it."""
        return (pixels.to(self.mean.dtype) / 255 - self.mean) / self.std

    def speed_up(self) -> None:
        """Have its convolutions computed the faster way."""
        for sight in self.sights:
            speed_up(sight.backbone)


class SideBySide(nn.Module):
    """Several sights as one backbone: (n, bytes) uint8, as `Joined` reads pictures, -> (n, features)."""

    def __init__(self, sights: Sequence[Sight]) -> None:
        super().__init__()
        self.sights = nn.ModuleList(sights)
        self.reading = Joined(tuple(sight.parts[0].preprocessing for sight in sights))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        seen = zip(self.sights, self.reading.split(pixels), strict=True)
        # As above: to the type checker a module may have any `features`.
        return torch.cat([sight.features(Inputs(some)) for sight, some in seen], dim=1)  # type: ignore[operator]


def _per_channel(values: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)
