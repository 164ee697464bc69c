"""The nearest class mean."""

import torch
from torch.nn.functional import normalize, one_hot

from pipeline.models.heads.fitted import Rooted, Tempered


class Prototype(Rooted, Tempered):
    """Each class is the mean of its pictures' features; a picture is of the class whose mean is nearest by cosine.

    Features (of a ReLU their square roots) lose the training pictures' mean and are brought to length 1 first:
    SimpleShot's CL2N, Wang et al. 2019.
    A class without pictures is as far as can be from every one.
    """

    center: torch.Tensor
    prototypes: torch.Tensor
    known: torch.Tensor

    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(n_features))
        self.register_buffer("prototypes", torch.zeros(n_classes, n_features))
        self.register_buffer("known", torch.zeros(n_classes, dtype=torch.bool))
        self.temperature.fill_(_USUAL_TEMPERATURE)

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        cosine = normalize(self.spread(features) - self.center) @ self.prototypes.T
        return torch.where(self.known, cosine, -1.0)

    @torch.no_grad()
    def fit(self, features: torch.Tensor, labels: torch.Tensor, **_: torch.Tensor | None) -> None:
        features = self.spread_to_fit(features)
        self.center.copy_(features.mean(0))
        of_class = one_hot(labels, len(self.prototypes)).float()
        self.prototypes.copy_(normalize(of_class.T @ normalize(features - self.center)))
        self.known.copy_(of_class.any(0))


_USUAL_TEMPERATURE = 0.1  # of cosines, until val gives a better one
