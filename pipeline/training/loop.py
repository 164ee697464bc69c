"""The loop: one readable pass after the other, a plain record an epoch, no tracking and no files."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from time import perf_counter
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import nn
from torch.optim import Optimizer

from pipeline.common.errors import BadInput, Stopped
from pipeline.common.progress import watch
from pipeline.config import schema
from pipeline.data.batch import Batch
from pipeline.training.optimization import Schedule
from pipeline.training.tally import GradientNorms, Tally, or_stand_in

TOP5_FROM = 6  # with five classes or fewer, five guesses are always right
_CHECK_EVERY = 50  # steps between looks at whether the loss is still a number; each look waits for the device


class NothingRead(BadInput):
    """Batches that held not one picture."""

    def __init__(self) -> None:
        super().__init__(
            "not one of the pictures to learn from, or to measure by, could be read: "
            "python -m pipeline.explore says why"
        )


class Batches(Protocol):
    """What the loop reads: batches of pictures, or of features in their stead.

    A pass begins at `start`, which is the `end` of the last batch that an earlier one came to.
    """

    @property
    def n_pictures(self) -> int: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Batch]: ...
    def set_epoch(self, epoch: int, start: int = 0) -> None: ...


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to. `improved`: no earlier epoch had so high a val accuracy (ties: so low a val loss).

    `gradient_norm` and `gradient_norm_max` are the mean and the largest of its steps' gradients' lengths, before any is
    cut; None where no step had a finite one. What is fitted and takes no steps has no `lr` either.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    val_top5_accuracy: float | None
    lr: float | None
    images_per_second: float
    seconds: float
    improved: bool
    gradient_norm: float | None = None
    gradient_norm_max: float | None = None

    def metrics(self) -> dict[str, float]:
        """By the names they are tracked under."""
        named = {
            "train/loss": self.train_loss,
            "train/accuracy": self.train_accuracy,
            "val/loss": self.val_loss,
            "val/accuracy": self.val_accuracy,
            "val/top5_accuracy": self.val_top5_accuracy,
            "lr": self.lr,
            "images_per_second": self.images_per_second,
            "gradient_norm": self.gradient_norm,
            "gradient_norm_max": self.gradient_norm_max,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass
class UnfinishedEpoch:
    """What there is of an epoch while its pass over the training pictures lasts: enough to go on within it."""

    lr: float
    position: int = 0  # the `end` of the last batch that was learned from
    batches: int = 0
    seconds: float = 0.0
    tally: Tally = field(default_factory=Tally)
    norms: GradientNorms = field(default_factory=GradientNorms)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "UnfinishedEpoch":
        """The inverse of `dataclasses.asdict`."""
        return cls(**plain | {"tally": Tally(**plain["tally"]), "norms": GradientNorms(**plain["norms"])})


@dataclass
class Progress:
    """How far a run has come; with the states of network, optimizer and schedule, enough to go on from."""

    epoch: int = 0
    stage: int = 0
    stage_began: int = 0  # after this epoch
    best_epoch: int = 0
    best_val_accuracy: float = -math.inf
    best_val_loss: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)
    unfinished: UnfinishedEpoch | None = None

    def enter(self, stage: int) -> None:
        """Begin a stage of the regime, unless it is the one already under way."""
        if stage != self.stage:
            self.stage, self.stage_began = stage, self.epoch

    def out_of(self, patience: int | None) -> bool:
        """Whether so many epochs of this stage went by without a better one."""
        return bool(patience) and self.epoch - max(self.best_epoch, self.stage_began) >= (patience or 0)

    def note(self, epoch: int, val_accuracy: float, val_loss: float) -> bool:
        """Take in an epoch's val figures; True where they are the best so far."""
        self.epoch, self.unfinished = epoch, None
        better = (val_accuracy, -val_loss) > (self.best_val_accuracy, -self.best_val_loss)
        if better:
            self.best_epoch, self.best_val_accuracy, self.best_val_loss = epoch, val_accuracy, val_loss
        return better


@dataclass(frozen=True)
class Learner:
    """What learns in a stage, from what, and for how many epochs; `module` and `optimizer` come from `fabric.setup`.

    `train_mode` puts the network in training mode: all of it, or what trains in this stage. `after_step` is called
    where what was learned could be saved: after each step, and each batch of val. `besides` gives what is minimised
    beside the loss, of the batch that the network has just seen: the losses that are told are without it.
    """

    module: _FabricModule
    optimizer: Optimizer
    schedule: Schedule
    loss: nn.Module
    train: Batches
    val: Batches
    epochs: int
    train_mode: Callable[[], object]
    after_step: Callable[[], object] = lambda: None
    besides: Callable[[torch.Tensor, torch.Tensor], torch.Tensor | float] = lambda _labels, _rows: 0.0


def fit(fabric: Fabric, learner: Learner, trainer: schema.Trainer, progress: Progress) -> Iterator[Epoch]:
    """Train a stage, yielding a record after each epoch; the caller saves, logs and shows.

    `progress` says where to go on from and is kept up to date. Stops early after `trainer.patience` epochs without
    improvement. Raises Stopped when the loss is no number, NothingRead when not one picture could be read.
    """
    val, last = learner.val, progress.stage_began + learner.epochs
    while progress.epoch < last and not progress.out_of(trainer.patience):
        epoch, began = progress.epoch + 1, perf_counter()
        done = progress.unfinished or UnfinishedEpoch(learner.optimizer.param_groups[0]["lr"])
        before, progress.unfinished = done.seconds, done
        _train_epoch(fabric, learner, trainer, done, epoch, last)
        shown = watch(_with(learner.after_step, islice(val, trainer.limit_batches)), "val", times=fabric.world_size)
        val_loss, val_accuracy, val_top5 = measure(learner.module, shown, fabric=fabric, loss=learner.loss)
        learner.schedule.end_epoch(val_loss)
        improved, tally = progress.note(epoch, val_accuracy, val_loss), done.tally
        record = Epoch(
            epoch, tally.mean(tally.loss), tally.mean(tally.right), val_loss, val_accuracy, val_top5, done.lr,
            int(tally.pictures) / max(done.seconds, 1e-9), before + perf_counter() - began, improved,
            *done.norms.mean_and_largest(),
        )  # fmt: skip
        progress.history.append({"epoch": epoch, **record.metrics()})
        yield record


def _train_epoch(
    fabric: Fabric, learner: Learner, trainer: schema.Trainer, done: UnfinishedEpoch, epoch: int, last_epoch: int
) -> None:
    """One pass over the training pictures, from where it is `done` on."""
    module, optimizer, accumulate = learner.module, learner.optimizer, trainer.accumulate
    tally, norms, layout, most = done.tally, done.norms, layout_of(module), trainer.limit_batches
    learner.train.set_epoch(epoch, start=done.position)
    learner.train_mode()
    began, before = perf_counter(), done.seconds
    some = islice(learner.train, most and most - done.batches)
    batches = watch(some, f"epoch {epoch}/{last_epoch}", times=fabric.world_size)
    # Which is the last is seen, not counted: where pictures cannot be read there are fewer batches than announced.
    for number, (batch, following) in enumerate(pairwise(chain(batches, [None])), start=done.batches + 1):
        assert batch is not None
        last = following is None
        inputs = or_stand_in(batch.inputs).to(fabric.device, layout)
        labels = batch.labels.to(fabric.device, non_blocking=True)
        steps_now = number % accumulate == 0 or last
        with fabric.no_backward_sync(module, enabled=not steps_now):
            logits = module(inputs)
            to_minimise = tally.add(fabric, learner.loss, logits, labels) + learner.besides(labels, batch.rows)
            fabric.backward(to_minimise / accumulate)
        if (number % _CHECK_EVERY == 0 or last) and not torch.isfinite(tally.loss):
            raise Stopped(
                f"the training loss is no number in epoch {epoch} (by batch {number}): "
                f"try a smaller optimizer.lr, trainer.clip_norm=1 or trainer.precision=fp32"
            )
        if steps_now:
            norms.add(_gradient_norm(module, optimizer, fabric, trainer.clip_norm))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            learner.schedule.step()
            done.position, done.batches = batch.end, number
            done.seconds = before + perf_counter() - began
            learner.after_step()
    if not tally.pictures:
        raise NothingRead


def _with(after: Callable[[], object], batches: Iterable[Batch]) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        after()


def _gradient_norm(
    module: _FabricModule, optimizer: Optimizer, fabric: Fabric, clip_norm: float | None
) -> torch.Tensor:
    """The length () of the gradient as it is now, which is then cut to `clip_norm` where there is one."""
    if clip_norm:
        norm = fabric.clip_gradients(module, optimizer, max_norm=clip_norm, error_if_nonfinite=False)
        assert norm is not None
        return norm
    fabric._precision.unscale_gradients(getattr(optimizer, "optimizer", optimizer))  # as clipping does, in fp16
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return nn.utils.get_total_norm([weight.grad for weight in parameters if weight.grad is not None])


@torch.inference_mode()
def measure(
    module: nn.Module, batches: Iterable[Batch], *, fabric: Fabric, loss: nn.Module
) -> tuple[float, float, float | None]:
    """Loss, accuracy and, from six classes up, top-5 accuracy over batches. NothingRead where these hold no picture."""
    tally, top5 = Tally(), False
    for _rows, labels, logits in predict(module, batches, fabric=fabric):
        top5 = logits.shape[1] >= TOP5_FROM
        tally.add(fabric, loss, logits, labels, top5=top5)
    if not tally.pictures:
        raise NothingRead
    return tally.mean(tally.loss), tally.mean(tally.right), tally.mean(tally.right5) if top5 else None


@torch.inference_mode()
def predict(
    module: nn.Module, batches: Iterable[Batch], *, fabric: Fabric
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Row numbers (n,), labels (n,) and logits (n, classes) in full precision of each batch, in evaluation mode."""
    module.eval()
    layout = layout_of(module)
    for batch in batches:
        inputs = or_stand_in(batch.inputs).to(fabric.device, layout)
        labels = batch.labels.to(fabric.device, non_blocking=True)
        yield batch.rows, labels, module(inputs)[: len(labels)].to(torch.get_default_dtype())


def layout_of(network: nn.Module) -> torch.memory_format:
    """How a network's weights lie in memory, which its pictures follow: were they otherwise, they would win."""
    weights = (weight for weight in network.parameters() if weight.ndim == 4)
    contiguous = all(weight.is_contiguous() for weight in weights)
    return torch.contiguous_format if contiguous else torch.channels_last
