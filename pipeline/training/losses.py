"""What is minimised: cross-entropy, plain, weighted by class, or focal."""

from collections.abc import Mapping, Sequence
from pkgutil import resolve_name

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.config import schema
from pipeline.data.digest import class_weights as balanced_weights

_SOME = 10_000  # labels are enough for a mean over them


class FocalLoss(nn.Module):
    """Cross-entropy times (1 - p)**gamma, p the probability given to the truth (Lin et al. 2017, arXiv:1708.02002).

    Logits (n, classes) and labels (n,) in, the mean out; gamma 0 is cross-entropy.
    """

    weight: torch.Tensor | None

    def __init__(self, gamma: float = 2.0, weight: torch.Tensor | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.gamma, self.label_smoothing = gamma, label_smoothing
        self.register_buffer("weight", weight)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        losses = functional.cross_entropy(
            logits, labels, weight=self.weight, label_smoothing=self.label_smoothing, reduction="none"
        )
        losses = losses * (self.gamma * log_probability_of_others(logits, labels)).exp()
        # The mean by weight, as torch's cross_entropy takes it.
        total = len(labels) if self.weight is None else self.weight[labels].sum()
        return losses.sum() / total


class BothWays(nn.Module):
    """A `loss` of pictures that are shown twice: with what is known beside them, and without, which counts `hidden`.

    Logits (2n, classes), those without last, and labels (n,) in; of (n, classes) it is the loss itself.
    """

    def __init__(self, loss: nn.Module, hidden: float) -> None:
        super().__init__()
        self.loss, self.hidden = loss, hidden

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        shown, without = logits.tensor_split([len(labels)])
        if not len(without):
            return self.loss(shown, labels)
        return torch.lerp(self.loss(shown, labels), self.loss(without, labels), self.hidden)


def weight_of(loss: nn.Module, labels: torch.Tensor) -> torch.Tensor:
    """() what a loss, a mean over pictures with `labels` (n,), divides by: their number, or their classes' weights."""
    inner = loss.loss if isinstance(loss, BothWays) else loss
    weight = getattr(inner, "weight", None)
    return labels.new_tensor(len(labels), dtype=torch.float64) if weight is None else weight[labels].sum()


def log_probability_of_others(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log(1 - p) of logits (n, classes) and labels (n,): (n,), p the probability given to the truth.

    Summed over the other classes, as 1 - p of a p near 1 rounds to 0, where a root of it (a gamma below 1) has no
    slope. Very low, but no infinity, where there are no other classes.
    """
    others = functional.one_hot(labels, logits.shape[1]) == 0
    lowest = torch.finfo(logits.dtype).min
    return functional.log_softmax(logits, dim=1).where(others, lowest).logsumexp(dim=1)


def build_loss(given: schema.Loss, *, classes: Sequence[str], labels: np.ndarray) -> nn.Module:
    """The loss that a config names; `labels` are the training pictures' codes, from which balanced weights come."""
    options = given.model_dump(exclude={"name", "class_weights"}, exclude_none=True)
    if (weights := getattr(given, "class_weights", None)) is not None:
        options["weight"] = torch.from_numpy(_weight_per_class(weights, classes, labels)).to(torch.get_default_dtype())
    return resolve_name(given.builds)(**options)


@torch.inference_mode()
def loss_of_knowing_nothing(loss: nn.Module, labels: np.ndarray, trained: np.ndarray, n_classes: int) -> float:
    """What never looking at a picture comes to on labels (n,): ln K of K classes, for plain cross-entropy.

    The better of two: all classes alike, or each as often as among the labels `trained` on (m,).
    """
    some = torch.from_numpy(np.array(labels[:: 1 + len(labels) // _SOME], dtype=np.int64))
    counts = np.bincount(trained, minlength=n_classes) + 1.0  # a class that was not trained on is rare, not impossible
    answers = np.log(np.stack([np.full(n_classes, 1 / n_classes), counts / counts.sum()]))
    logits = torch.from_numpy(answers).float()
    return min(float(loss(one.expand(len(some), -1), some)) for one in logits)


def _weight_per_class(weights: schema.ClassWeights, classes: Sequence[str], labels: np.ndarray) -> np.ndarray:
    if weights == "balanced":
        return balanced_weights(labels, len(classes))
    if isinstance(weights, Mapping):
        unknown = [name for name in weights if name not in set(classes)]
        if unknown:
            raise BadInput(f"loss.class_weights: no class {unknown[0]}{did_you_mean(unknown[0], classes)}")
        return np.array([weights.get(name, 1.0) for name in classes])
    if len(weights) != len(classes):
        raise BadInput(f"loss.class_weights has {len(weights)} weights for {len(classes)} classes")
    return np.array(weights, dtype=float)
