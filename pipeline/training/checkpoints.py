"""What an unfinished run goes on from."""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.optim import Optimizer

from pipeline.common.atomic import write_atomically
from pipeline.common.errors import BadInput
from pipeline.common.interruption import heed, requested
from pipeline.models.classifier import Classifier
from pipeline.models.saved import NetworkFacts, read_facts, save_best
from pipeline.training.loop import Progress, UnfinishedEpoch
from pipeline.training.optimization import Schedule

FORMAT_VERSION = 1
LAST, BEFORE = "last.pt", "before.pt"
_WORTH_KEEPING = 5.0  # seconds of training

log = logging.getLogger(__name__)


class Saver:
    """Keeps on disk all that an unfinished run needs to go on, and its best weights: always a pair.

    Whenever the process is killed, the best weights on disk are those that the state speaks of, or the state itself
    holds them: they are written after it, and replaced by no others without it. It can be large, so it is saved
    `every` so many seconds, with better weights, and when the command is asked to end; a shorter run has none, and
    nothing for these to disagree with. The state before is kept too, for the case that the last one is damaged.
    """

    def __init__(self, folder: Path, network: Classifier, progress: Progress, every: float) -> None:
        self._folder, self._network, self._progress, self._every = folder, network, progress, every
        self._saved_at = monotonic()
        self.stored: dict[str, Any] | None = None  # what `follow` is still to bring back

    def restore(self, facts: Callable[[], NetworkFacts]) -> None:
        """Bring network, progress and best weights back to where they were saved; the optimizer follows in `follow`.

        `facts` are those of the network at the progress' best epoch. Raises BadInput where no state is whole and of
        this version.
        """
        self.stored = read_state(self._folder)
        self._network.load_state_dict(self.stored["network"])
        progress, stored = self._progress, self.stored["progress"]
        unfinished = stored.get("unfinished")
        stored["unfinished"] = unfinished and UnfinishedEpoch.from_dict(unfinished)
        for name, value in stored.items():
            setattr(progress, name, value)
        if not progress.best_epoch:
            return
        if progress.best_epoch == progress.epoch and not unfinished:  # perhaps killed before these were written
            save_best(self._folder, self._network, facts())
        elif (kept := read_facts(self._folder)).epoch != progress.best_epoch:
            # Earlier versions wrote weights without the state: what is there counts, until it is equalled.
            progress.best_epoch, progress.best_val_accuracy = kept.epoch, kept.val_accuracy
            progress.best_val_loss = math.inf

    def follow(self, optimizer: Optimizer, schedule: Schedule, fabric: Fabric) -> None:
        """From now on save these too; brought back as well, if they come from `restore`."""
        self._optimizer, self._schedule, self._fabric = optimizer, schedule, fabric
        if self.stored is not None:
            optimizer.load_state_dict(self.stored["optimizer"])
            schedule.load_state_dict(self.stored["schedule"])
            self._fabric.strategy.precision.load_state_dict(self.stored.get("precision", {}))
            _set_generators(self.stored)
            self.stored = None

    def after_step(self) -> None:
        """Save the state where it is due or the command was asked to end, which then is raised as Interrupted."""
        if requested() or monotonic() - self._saved_at >= self._every:
            self._save()
        heed()

    def keep(self, best: NetworkFacts | None) -> None:
        """After an epoch: the state, where it is due, and then the weights, where it was the `best`."""
        if monotonic() - self._saved_at >= self._every or (best and (self._folder / LAST).exists()):
            self._save()
        if best:
            save_best(self._folder, self._network, best)

    def finish(self) -> None:
        """After the last epoch: the state, unless the run was so short that it can as well be done again."""
        if (self._folder / LAST).exists() or monotonic() - self._saved_at >= _WORTH_KEEPING:
            self._save()

    def _save(self) -> None:
        file = self._folder / LAST
        state = {
            "format_version": FORMAT_VERSION,
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "progress": asdict(self._progress),
            "precision": self._fabric.strategy.precision.state_dict(),  # the gradient scaler's, where there is one
            **_generators(),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        before = file.with_name(BEFORE)
        write_atomically(file, lambda path: torch.save(state, path), shared=True, before=before)
        self._saved_at = monotonic()


def _generators() -> dict[str, Any]:
    """The states of the processor's generator and of each GPU's, which dropout draws from."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"random": torch.get_rng_state(), "random_cuda": gpus}


def _set_generators(stored: dict[str, Any]) -> None:
    torch.set_rng_state(stored["random"])
    gpus = stored.get("random_cuda", [])
    if gpus and torch.cuda.is_available():
        for number, state in enumerate(gpus[: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state, number)


def read_state(folder: Path) -> dict[str, Any]:
    """The last state that `Saver` wrote, or the one before where that is damaged. BadInput where neither is whole."""
    last, before = folder / LAST, folder / BEFORE
    try:
        return _read(last)
    except BadInput as error:
        if not before.is_file():
            raise
        if last.exists():
            log.warning("warning: %s; going on from the one before", error)
        return _read(before)


def has_state(folder: Path) -> bool:
    """Whether a run left a state to go on from."""
    return (folder / LAST).is_file() or (folder / BEFORE).is_file()


def _read(file: Path) -> dict[str, Any]:
    """Only tensors and plain values are read; nothing in the file is run."""
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # a damaged pickle can make its reader stumble over anything
        raise BadInput(f"{file} is missing, cut short or no saved state") from None
    version = stored.get("format_version") if isinstance(stored, dict) else None
    if version != FORMAT_VERSION:
        raise BadInput(f"{file} has format_version {version}; this version reads {FORMAT_VERSION}")
    return dict(stored)


def drop_state(folder: Path) -> None:
    """A finished run needs none."""
    for name in (BEFORE, LAST):
        (folder / name).unlink(missing_ok=True)
