"""Sums over an epoch, kept on the device so that no step waits for it; those of several processes are one."""

from dataclasses import dataclass, field

import torch
from lightning_fabric import Fabric
from torch import nn

from pipeline.data.batch import Inputs
from pipeline.training.losses import weight_of


def _zero() -> torch.Tensor:
    return torch.zeros(())


@dataclass
class Tally:
    """Loss and hits, summed over pictures."""

    loss: torch.Tensor = field(default_factory=_zero)
    right: torch.Tensor = field(default_factory=_zero)
    right5: torch.Tensor = field(default_factory=_zero)
    pictures: int | torch.Tensor = 0

    def add(
        self, fabric: Fabric, loss: nn.Module, logits: torch.Tensor, labels: torch.Tensor, *, top5: bool = False
    ) -> torch.Tensor:
        """Count a batch, of which each process of `fabric` has a share: maybe none, whose logits are a stand-in's.

        Gives what the share is to send back: averaged over the processes its gradient is that of the whole batch's
        loss, however unevenly the pictures, and the weights of their classes, are shared out.
        """
        own = loss(logits, labels) if len(labels) else 0.0 * logits.sum()
        shown = logits[: len(labels)].detach()  # those after them: see `BothWays`
        right = (shown.argmax(1) == labels).sum()
        hits = (shown.topk(5, dim=1).indices == labels[:, None]).any(1).sum() if top5 else torch.zeros_like(right)
        if fabric.world_size == 1:
            self._add(own.detach() * len(labels), right, hits, len(labels))
            return own
        weight, n = weight_of(loss, labels), torch.full_like(right, len(labels))
        sums = torch.stack([one.double() for one in (own.detach() * weight, weight, right, hits, n)])
        torch.distributed.all_reduce(sums)
        losses, weights, rights, all_hits, pictures = sums
        weights = weights.clamp(min=torch.finfo(torch.float32).tiny)  # where not one picture could be read
        self._add((losses / weights * pictures).to(own.dtype), rights.long(), all_hits.long(), pictures.long())
        return own * (fabric.world_size * weight / weights).to(own.dtype)

    def _add(self, loss: torch.Tensor, right: torch.Tensor, right5: torch.Tensor, pictures: int | torch.Tensor) -> None:
        self.loss = self.loss.to(loss.device) + loss
        self.right = self.right.to(loss.device) + right
        self.right5 = self.right5.to(loss.device) + right5
        self.pictures = pictures + self.pictures

    def mean(self, total: torch.Tensor) -> float:
        """A sum's mean over pictures."""
        return total.item() / max(int(self.pictures), 1)


@dataclass
class GradientNorms:
    """Sum, number and largest of the steps' gradients' lengths, on the device.

    In half precision a step now and then is not finite, and left out by its scaler: it does not count.
    """

    total: torch.Tensor = field(default_factory=_zero)
    steps: torch.Tensor = field(default_factory=_zero)
    largest: torch.Tensor = field(default_factory=_zero)

    def add(self, norm: torch.Tensor) -> None:
        """A step's."""
        norm, finite = norm.detach().float(), norm.isfinite()
        counted = norm.where(finite, 0.0)
        self.total = self.total.to(norm.device) + counted
        self.steps = self.steps.to(norm.device) + finite
        self.largest = torch.maximum(self.largest.to(norm.device), counted)

    def mean_and_largest(self) -> tuple[float, float] | tuple[None, None]:
        """Over the steps; None where no step had a finite one."""
        steps = self.steps.item()
        return (self.total.item() / steps, self.largest.item()) if steps else (None, None)


def or_stand_in(inputs: Inputs) -> Inputs:
    """Where a process has no picture of a batch, a blank one in its stead: all must go through the network together."""
    some = [value for value in inputs if value is not None]
    if not some or len(some[0]):
        return inputs
    return Inputs(*(None if value is None else value.new_zeros((1, *value.shape[1:])) for value in inputs))
