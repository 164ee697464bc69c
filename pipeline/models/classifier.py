"""A classifier: pictures in, one logit a class out; and the plain facts it can be built again from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch

from pipeline.data.batch import NOTHING, Inputs
from pipeline.data.beside.registry import Beside, from_list, known, to_list
from pipeline.data.beside.set_by_hand import attributes_set
from pipeline.data.reading.preprocessing import Joined, Preprocessing, Reading
from pipeline.models.heads.fitted import FittedHead
from pipeline.models.heads.registry import HeadSpec
from pipeline.models.join import Join
from pipeline.models.sight import Part, Sight


@dataclass(frozen=True)
class Wants:
    """What a network is to be given of a picture: pixels, read in its way, and what comes beside them.

    `attributes`: those that it reads of a picture, and that may be set by hand.
    """

    reading: Reading
    beside: Beside = ()
    attributes: tuple[str, ...] = ()

    def known(self, rows: pd.DataFrame) -> Inputs:
        """What n rows of a table know of their pictures beside the pixels. BadInput for what cannot be."""
        by_hand = attributes_set(rows, self.attributes)
        return known(self.beside, rows)._replace(attributes=None if by_hand is None else torch.from_numpy(by_hand))


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
    beside: Beside = ()  # the picture

    @classmethod
    def of(cls, parts: Sequence[Part], n_classes: int, head: HeadSpec, beside: Beside = ()) -> "NetworkSpec":
        """That of one backbone, or of several beside each other."""
        if len(parts) == 1:
            return cls(parts[0].name, n_classes, parts[0].preprocessing, head, parts[0].options, beside=beside)
        name = "+".join(part.name.rpartition("/")[2] for part in parts)
        reading = Joined(tuple(part.preprocessing for part in parts))
        return cls(name, n_classes, reading, head, joined=tuple(parts), beside=beside)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The backbones, of which there is mostly one."""
        if isinstance(self.preprocessing, Preprocessing):
            return (Part(self.name, self.preprocessing, self.options),)
        return self.joined

    @property
    def wants(self) -> Wants:
        """What it is to be given of a picture."""
        return Wants(self.preprocessing, self.beside, tuple(self.head.options.get("attributes", ())))

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        plain: dict[str, Any] = {"n_classes": self.n_classes, "head": self.head.to_dict()}
        if self.beside:
            plain["beside"] = to_list(self.beside)
        if self.joined:
            return plain | {"joined": [part.to_dict() for part in self.joined]}
        return self.parts[0].to_dict() | plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "NetworkSpec":
        """The inverse of `to_dict`; KeyError or TypeError where a part is missing or unknown."""
        parts = [Part.from_dict(part) for part in plain.get("joined", [plain])]
        beside = from_list(plain.get("beside", []))
        return cls.of(parts, plain["n_classes"], HeadSpec.from_dict(plain["head"]), beside)


class Classifier(Sight):
    """`Inputs` -> (n, n_classes) logits; in training (2n, n_classes) where pictures are shown twice: see `joined`."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(spec.parts, spec.head.kind.reads)
        self.spec = spec
        self.join = Join(spec.beside) if spec.beside else None
        joined = self.join.width if self.join else 0
        self.head = spec.head.build(self.n_features + joined, spec.n_classes)
        if isinstance(self.head, FittedHead):
            self.head.joined = joined

    def joined(self, inputs: Inputs) -> torch.Tensor:
        """What the head is given: the features, and after them what comes beside the picture, where it wants any.

        In training all pictures follow once more as if nothing were known beside them, where that is to be learned too.
        """
        features = self.features(inputs)
        if not self.join:
            return features
        given = self.join(features, inputs)
        taught = self.join.training and self.join.dropout
        return torch.cat([given, self.join(features, NOTHING)]) if taught else given

    def forward(self, inputs: Inputs) -> torch.Tensor:
        given = self.joined(inputs)
        return self.head(given) if inputs.attributes is None else self.head(given, inputs.attributes)


def build_classifier(spec: NetworkSpec) -> Classifier:
    """A classifier with weights left to chance, its convolutions computed the faster way."""
    made = Classifier(spec)
    made.speed_up()
    return made
