"""A classifier: pictures in, one logit a class out; and the plain facts it can be built again from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from pipeline.data.batch import Inputs
from pipeline.data.reading.preprocessing import Joined, Preprocessing, Reading
from pipeline.models.heads.registry import HeadSpec
from pipeline.models.sight import Part, Sight


@dataclass(frozen=True)
class NetworkSpec:
    """All that is needed to build a classifier again: known names and numbers, no code.

    Where several backbones are joined, they are the `parts`, and `name` and `preprocessing` are made of theirs.
    """

    name: str
    n_classes: int
    preprocessing: Reading
    head: HeadSpec = field(default_factory=HeadSpec)
    options: Mapping[str, Any] = field(default_factory=dict)  # of the library's own network, where it has any
    joined: tuple[Part, ...] = ()

    @classmethod
    def of(cls, parts: Sequence[Part], n_classes: int, head: HeadSpec) -> "NetworkSpec":
        """That of one backbone, or of several beside each other."""
        if len(parts) == 1:
            return cls(parts[0].name, n_classes, parts[0].preprocessing, head, parts[0].options)
        name = "+".join(part.name.rpartition("/")[2] for part in parts)
        return cls(name, n_classes, Joined(tuple(part.preprocessing for part in parts)), head, joined=tuple(parts))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The backbones, of which there is mostly one."""
        if isinstance(self.preprocessing, Preprocessing):
            return (Part(self.name, self.preprocessing, self.options),)
        return self.joined

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        plain = {"n_classes": self.n_classes, "head": self.head.to_dict()}
        if self.joined:
            return plain | {"joined": [part.to_dict() for part in self.joined]}
        return self.parts[0].to_dict() | plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "NetworkSpec":
        """The inverse of `to_dict`; KeyError or TypeError where a part is missing or unknown."""
        parts = [Part.from_dict(part) for part in plain.get("joined", [plain])]
        return cls.of(parts, plain["n_classes"], HeadSpec.from_dict(plain["head"]))


class Classifier(Sight):
    """`Inputs` -> (n, n_classes) logits."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(spec.parts, spec.head.kind.reads)
        self.spec = spec
        self.head = spec.head.build(self.n_features, spec.n_classes)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        return self.head(self.features(inputs))


def build_classifier(spec: NetworkSpec) -> Classifier:
    """A classifier with weights left to chance, its convolutions computed the faster way."""
    made = Classifier(spec)
    made.speed_up()
    return made
