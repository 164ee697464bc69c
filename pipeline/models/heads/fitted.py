"""What all heads that learn nothing by gradient have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from pipeline.models.backbone import Features


class FittedHead(nn.Module, ABC):
    """A head that does not learn by gradient: it is fitted once, to the features of all training pictures."""

    reads: ClassVar[Features] = "pooled"
    weighs: ClassVar[bool] = False  # whether it matters to it how much a picture counts
    averages: ClassVar[bool] = False  # whether the mean of two such heads' states is such a head too
    learns: ClassVar[bool] = True  # whether training pictures teach it anything
    trains: ClassVar[bool] = False  # whether it can learn by gradient too, as it does above a backbone that trains
    joined: int = 0  # how many of its features, the last, come from beside the picture
    tried: bool = False  # whether it is fitted only to be measured, and so as roughly as that allows

    def meet(self, classes: Sequence[str]) -> None:
        """Told, before any work, the names of the classes (n_classes,). BadInput where it can do nothing with them."""

    @abstractmethod
    def fit(
        self, features: torch.Tensor, labels: torch.Tensor, *, weights: torch.Tensor | None = None,
        pictures: torch.Tensor | None = None,
    ) -> None:  # fmt: skip
        """Learn from features (n, n_features) float32 and labels (n,) int64, all on the CPU.

        `weights` (n,) say how much each counts, `pictures` (n,) int64 which are of one picture (augmented views, say):
        what is tried out on some must not have seen the others. A class without a picture must get a finite, low logit.
        """

    def settle(
        self, features: torch.Tensor, labels: torch.Tensor, *, weights: torch.Tensor | None = None,
        pictures: torch.Tensor | None = None,
    ) -> None:  # fmt: skip
        """Choose, before it is fitted several times to pictures like these, what need not be chosen each time."""

    def calibrate(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        """Learn from pictures that it was not fitted to, shaped alike, how sure it may be. No answer may change."""

    @abstractmethod
    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """(n, n_features) float32 -> (n, n_classes), finite."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        with torch.autocast(features.device.type, enabled=False):  # it was fitted in whole digits
            return self.logits(features.float())


class Tempered(FittedHead):
    """One whose scores are no logits yet: they are divided by a temperature that val gives (Guo et al. 2017).

    Its buffers may have any size in a stored state: that of the training set, for one.
    """

    temperature: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.ones(()))

    @abstractmethod
    def scores(self, features: torch.Tensor) -> torch.Tensor:
        """(n, n_features) -> (n, n_classes), finite; the largest is the answer."""

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return self.scores(features) / self.temperature

    @torch.no_grad()
    def calibrate(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        self.temperature.fill_(best_temperature(self.scores(features), labels))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, mine in self._buffers.items():
            stored = state_dict.get(prefix + name)
            if stored is not None and mine is not None and stored.shape != mine.shape:
                setattr(self, name, torch.empty_like(stored, device=mine.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Rooted(FittedHead):
    """One that takes the square roots of features that are never negative: the means of what a ReLU let through.

    Those are spread like counts, a few of them large; their roots are spread evenly (Perronnin et al. 2010).
    """

    rooted: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rooted", torch.zeros((), dtype=torch.bool))

    def spread(self, features: torch.Tensor) -> torch.Tensor:
        """The features (n, n_features), or their roots, as was found when it was fitted; what is joined stays."""
        own, joined = torch.split(features, [features.shape[1] - self.joined, self.joined], dim=1)
        roots = own.clamp(min=torch.finfo(own.dtype).tiny).sqrt()  # at 0 itself a root's slope is infinite
        return torch.cat([torch.where(self.rooted, roots, own), joined], dim=1)

    def spread_to_fit(self, features: torch.Tensor) -> torch.Tensor:
        """The same of all training pictures, which say which it is from now on."""
        self.rooted.fill_(bool((features[:, : features.shape[1] - self.joined] >= 0).all()))
        return self.spread(features)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        state_dict.setdefault(f"{prefix}rooted", torch.zeros_like(self.rooted))  # earlier versions had none
        super()._load_from_state_dict(state_dict, prefix, *rest)


def best_temperature(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """What scores (n, n_classes) have to be divided by for the least log loss, one label of n + 2 being doubted.

    Without that doubt (Platt 1999) the sharpest probabilities would look best wherever no answer is wrong.
    """
    from scipy.optimize import minimize_scalar

    doubt = 1 / (len(labels) + 2)
    spread = float(scores.std()) or 1.0

    def loss(log_temperature: float) -> float:
        found = (scores / (spread * np.exp(log_temperature))).log_softmax(1).double()
        right = found.gather(1, labels[:, None]).mean()
        return -float((1 - doubt) * right + doubt * found.mean())

    found = minimize_scalar(loss, bounds=(-7.0, 7.0), method="bounded", options={"xatol": 1e-3})
    return spread * float(np.exp(found.x))


def usual_scale(features: torch.Tensor, joined: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and scale (n_features,) of features (n, n_features): float64, the scale nowhere near 0.

    A feature that hardly varies among these pictures must not decide about others, where it may. The last `joined`,
    which come from beside the picture, keep the size that they were given among the others.
    """
    values = features[:, : features.shape[1] - joined].double()
    mean, scale = values.mean(0), values.std(0, correction=0)
    usual = float(scale.square().mean().sqrt()) or 1.0
    mean, scale = torch.cat([mean, mean.new_zeros(joined)]), torch.cat([scale, scale.new_full((joined,), usual)])
    return mean, scale.clamp(min=_LEAST_SCALE * usual)


_LEAST_SCALE = 0.1  # of the features' usual one (root mean square)
