"""All heads by name.

A head is a class in `HEADS`: its constructor takes how many features and classes there are, and options that JSON can
hold; `reads` says which features it wants. It learns by gradient, or is a `FittedHead`, fitted once to kept features;
one that `trains` does either. Whichever it is, all that it knows is in its parameters and buffers, so whatever saves,
serves or averages a network need not tell them apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.config.keys import RENAMED_HEADS
from pipeline.models.heads.concepts import Concepts
from pipeline.models.heads.estimators import Estimator
from pipeline.models.heads.fitted import FittedHead
from pipeline.models.heads.layers import Layers, LayersOnTheMap
from pipeline.models.heads.logistic import LogisticRegression
from pipeline.models.heads.neighbours import Neighbours
from pipeline.models.heads.pretrained import Pretrained
from pipeline.models.heads.prototype import Prototype
from pipeline.models.heads.text import Text

HEADS: dict[str, type[Layers] | type[FittedHead]] = {
    "linear": Layers,
    "mlp": Layers,
    "flatten": LayersOnTheMap,
    "logistic": LogisticRegression,
    "prototype": Prototype,
    "knn": Neighbours,
    "sklearn": Estimator,
    "concepts": Concepts,
    "pretrained": Pretrained,
    "text": Text,
}


def fits_once(name: str, what_trains: str) -> bool:
    """Whether a head is fitted, and learns nothing by gradient, where that trains (`regime.trains`)."""
    kind = HEADS.get(name, Layers)
    return issubclass(kind, FittedHead) and not (kind.trains and what_trains != "head")


@dataclass(frozen=True)
class HeadSpec:
    """A head by its name in `HEADS` and the options it was made with: known names and numbers, no code."""

    name: str = "linear"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> type[Layers] | type[FittedHead]:
        """Its class."""
        return HEADS[self.name]

    def build(self, n_features: int, n_classes: int) -> Layers | FittedHead:
        """The head, its weights left to chance. TypeError for options that it does not have."""
        return self.kind(n_features, n_classes, **self.options)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"name": self.name, **self.options}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "HeadSpec":
        """The inverse of `to_dict`. KeyError without a name, BadInput for one that is not in `HEADS`."""
        options = dict(plain)
        named = options.pop("name")
        name = RENAMED_HEADS.get(named, named)
        if name not in HEADS:
            raise BadInput(f"head.name={name}: no such head{did_you_mean(name, HEADS)}")
        return cls(name, options)
