"""Optimizers, and how their learning rate moves: warm-up, then a shape, counted in steps."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import Optimizer, lr_scheduler

_OPTIMIZERS = {name.lower(): kind for name, kind in vars(torch.optim).items() if isinstance(kind, type)}
_WARMUP_FROM = 0.01  # share of the rate at the first step


def build_optimizer(name: str, groups: list[dict[str, Any]], **options: Any) -> Optimizer:
    """The optimizer of torch.optim by its name in lower case, over groups with their own `lr` and `weight_decay`."""
    return _OPTIMIZERS[name](groups, **options)


class Schedule:
    """The learning rate over a run: `step()` after each optimizer step, `end_epoch(val_loss)` after each epoch.

    Shapes: `constant`, `step` (times `gamma` every `step_epochs`), `multistep` (times `gamma` at each of `milestones`,
    shares of all epochs), `cosine` (to `min_factor` of the rate), `onecycle` (whose rise is the warm-up; Smith and
    Topin 2017) and `plateau` (times `gamma` after `patience` epochs without a lower val loss).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        name: str,
        *,
        epochs: int,
        steps_per_epoch: int,
        warmup_epochs: float = 0,
        step_epochs: int | None = None,
        milestones: Sequence[float] = (),
        gamma: float | None = None,
        min_factor: float | None = None,
        patience: int | None = None,
    ) -> None:
        total = max(epochs * steps_per_epoch, 1)
        warmup = min(round(warmup_epochs * steps_per_epoch), total - 1)
        rates = [group["lr"] for group in optimizer.param_groups]
        self._by_loss: lr_scheduler.ReduceLROnPlateau | None = None
        shape: lr_scheduler.LRScheduler
        match name:
            case "onecycle":
                rise = max(warmup, 1) / total
                self._by_step: lr_scheduler.LRScheduler = lr_scheduler.OneCycleLR(
                    optimizer, max_lr=rates, total_steps=total + 1, pct_start=min(rise, 0.99)
                )
                return
            case "step":
                shape = lr_scheduler.StepLR(optimizer, (step_epochs or 1) * steps_per_epoch, gamma or 0.1)
            case "multistep":
                cuts = [max(round(share * total), 1) - warmup for share in milestones]
                shape = lr_scheduler.MultiStepLR(optimizer, cuts, gamma or 0.1)
            case "cosine":
                floor = min_factor or 0.0
                shape = lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step / (total - warmup), floor))
            case "constant" | "plateau":
                shape = lr_scheduler.LambdaLR(optimizer, lambda _step: 1.0)
            case _:
                raise ValueError(f"no scheduler has the name {name}")
        self._by_step = _after_warmup(optimizer, shape, warmup)
        if name == "plateau":
            self._by_loss = lr_scheduler.ReduceLROnPlateau(optimizer, factor=gamma or 0.1, patience=patience or 0)

    def step(self) -> None:
        """After each step of the optimizer."""
        if self._by_loss is None or self._warming():
            self._by_step.step()

    def end_epoch(self, val_loss: float) -> None:
        """After each epoch."""
        if self._by_loss is not None:
            self._by_loss.step(val_loss)

    def _warming(self) -> bool:
        # A plateau's cuts are written into the rates themselves; the constant shape would undo them.
        return isinstance(self._by_step, lr_scheduler.SequentialLR) and (
            self._by_step.last_epoch < self._by_step._milestones[0]
        )

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        by_loss = self._by_loss.state_dict() if self._by_loss else None
        return {"by_step": self._by_step.state_dict(), "by_loss": by_loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._by_step.load_state_dict(state["by_step"])
        if self._by_loss:
            self._by_loss.load_state_dict(state["by_loss"])


def cosine(progress: float, floor: float = 0.0) -> float:
    """From 1 at progress 0 to `floor` at progress 1, and there from then on."""
    half_turn = torch.pi * min(max(progress, 0.0), 1.0)
    return floor + (1 - floor) * 0.5 * (1 + float(torch.cos(torch.tensor(half_turn))))


def _after_warmup(optimizer: Optimizer, shape: lr_scheduler.LRScheduler, warmup: int) -> lr_scheduler.LRScheduler:
    if not warmup:
        return shape
    rise = lr_scheduler.LinearLR(optimizer, _WARMUP_FROM, 1.0, warmup)
    return lr_scheduler.SequentialLR(optimizer, [rise, shape], milestones=[warmup])
