"""Heads: what stands on a backbone's features, and answers with a logit a class.

A head is a class in `HEADS`: its constructor takes how many features and classes there are, and options that JSON can
hold; `reads` says which features it wants. It learns by gradient, or is a `FittedHead`, fitted once to kept features.
Either way all that it knows is in its parameters and buffers, so whatever saves, serves or averages a network need not
tell them apart.
"""

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.models.backbone import Features

log = logging.getLogger("pipeline.train")


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


class FittedHead(nn.Module, ABC):
    """A head that does not learn by gradient: it is fitted once, to the features of all training pictures."""

    reads: ClassVar[Features] = "pooled"

    @abstractmethod
    def fit(self, features: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None) -> None:
        """Learn from features (n, n_features) and labels (n,) int64, all on the CPU; `weights` (n,) say how much each
        picture counts. A class without a picture must get a finite, low logit.
        """


class LogisticRegression(FittedHead):
    """scikit-learn's, on standardised features; these scales are folded into the weights: one linear layer.

    `C` is the inverse of the L2 penalty's strength: smaller values keep the weights smaller.
    """

    def __init__(self, n_features: int, n_classes: int, C: float = 1.0) -> None:  # noqa: N803 - scikit-learn's name
        super().__init__()
        self.inverse_penalty = C
        self.linear = nn.Linear(n_features, n_classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear(features)

    @torch.no_grad()
    def fit(self, features: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None) -> None:
        from sklearn.exceptions import ConvergenceWarning  # only who fits needs these, who serves does not
        from sklearn.linear_model import LogisticRegression as Solver

        values, codes = features.numpy(), labels.numpy()
        mean, scale = values.mean(0), values.std(0)
        # A feature that hardly varies among these pictures must not decide about others, where it may.
        scale = np.maximum(scale, _LEAST_SCALE * np.sqrt(np.mean(scale**2)) or 1.0)
        values = (values - mean) / scale
        there = np.unique(codes)
        weight = np.zeros((len(self.linear.weight), values.shape[1]))
        bias = np.full(len(weight), -np.log(len(codes)))  # of a class without pictures: rarer than one in all
        bias[there] = 0.0
        if len(there) > 1:
            solver = Solver(C=self.inverse_penalty, max_iter=_MOST_ITERATIONS)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # told of below, in one line
                solver.fit(values, codes, sample_weight=None if weights is None else weights.numpy())
            if solver.n_iter_.max() >= _MOST_ITERATIONS:
                log.warning("warning: head=logreg stopped after %d iterations: try a smaller head.C", _MOST_ITERATIONS)
            found, shift = solver.coef_, solver.intercept_
            if len(there) == 2:  # one row, the log odds of the second: half for it and half against the first
                found, shift = np.concatenate([-found, found]) / 2, np.concatenate([-shift, shift]) / 2
            weight[there] = found / scale
            bias[there] = shift - weight[there] @ mean
        self.linear.weight.copy_(torch.from_numpy(weight).float())
        self.linear.bias.copy_(torch.from_numpy(bias).float())


_LEAST_SCALE = 0.1  # of the features' usual one (root mean square)
_MOST_ITERATIONS = 1000  # of lbfgs, which is through with standardised features after some tens or hundreds

HEADS: dict[str, type[Layers] | type[FittedHead]] = {
    "linear": Layers,
    "mlp": Layers,
    "flatten": LayersOnTheMap,
    "logreg": LogisticRegression,
}


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
        name = options.pop("name")
        if name not in HEADS:
            raise BadInput(f"head.name={name}: no such head{did_you_mean(name, HEADS)}")
        return cls(name, options)
