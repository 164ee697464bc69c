"""The best network of a run on disk (safetensors, a JSON beside it), and what an unfinished run goes on from."""

import json
import math
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch.optim import Optimizer

from pipeline.data.whole_file import write_whole
from pipeline.errors import BadInput
from pipeline.models.classifier import Classifier, NetworkSpec, build_classifier
from pipeline.training.loop import Progress
from pipeline.training.optimization import Schedule

FORMAT_VERSION = 1
BEST_WEIGHTS, BEST_FACTS, LAST = "best.safetensors", "best.json", "last.pt"


@dataclass(frozen=True)
class NetworkFacts:
    """What the weights' file does not say: how to build the network, what its outputs mean, when it was best."""

    spec: NetworkSpec
    classes: tuple[str, ...]
    taxonomy: pd.DataFrame | None = None
    epoch: int = 0
    val_accuracy: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        taxonomy = None if self.taxonomy is None else json.loads(self.taxonomy.to_json(orient="split"))
        return {
            "format_version": FORMAT_VERSION,
            "network": self.spec.to_dict(),
            "classes": list(self.classes),
            "taxonomy": taxonomy,
            "epoch": self.epoch,
            "val_accuracy": self.val_accuracy,
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any], source: str) -> "NetworkFacts":
        """The inverse of `to_dict`. Raises BadInput for a format this version does not know."""
        version = plain.get("format_version")
        if version != FORMAT_VERSION:
            raise BadInput(f"{source} has format_version {version}; this version reads {FORMAT_VERSION}")
        taxonomy = plain["taxonomy"]
        return cls(
            spec=NetworkSpec.from_dict(plain["network"]),
            classes=tuple(plain["classes"]),
            taxonomy=None if taxonomy is None else pd.DataFrame(**taxonomy),
            epoch=plain["epoch"],
            val_accuracy=plain["val_accuracy"],
        )


def save_best(folder: Path, network: Classifier, facts: NetworkFacts) -> None:
    """Write a network's weights and facts; whoever reads meanwhile sees the old files or the new, never half."""
    _save_weights(folder / BEST_WEIGHTS, network)
    _write(folder / BEST_FACTS, lambda path: path.write_text(json.dumps(facts.to_dict(), indent=1), encoding="utf-8"))


def save_epoch(folder: Path, network: Classifier, epoch: int) -> None:
    """Keep an epoch's weights beside the best, whose facts hold for them too."""
    _save_weights(folder / f"epoch_{epoch}.safetensors", network)


def _save_weights(file: Path, network: Classifier) -> None:
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    _write(file, lambda path: save_file(state, path))


def read_facts(folder: Path) -> NetworkFacts:
    """The facts beside a run's weights. Raises BadInput where they are missing or unreadable."""
    file = folder / BEST_FACTS
    try:
        return NetworkFacts.from_dict(json.loads(file.read_text(encoding="utf-8")), str(file))
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{file} is missing or is no description of a network ({error})") from None


def load_network(spec: NetworkSpec, weights: Path) -> Classifier:
    """Build a network from its spec and fill it from a safetensors file, in evaluation mode. BadInput as below."""
    network = build_classifier(spec)
    fill_network(network, weights)
    return network.eval()


def fill_network(network: Classifier, weights: Path) -> None:
    """Give a network the weights of a safetensors file.

    Raises BadInput where the file is missing, cut short or belongs to another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        network.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{weights} does not hold the weights of {network.spec.name}: {reason}") from None


class Saver:
    """Keeps on disk all that an unfinished run needs to go on, and its best weights: always a pair.

    Whenever the process is killed, the best weights on disk are those that the state speaks of, or the state itself
    holds them: they are written after it, and replaced by no others without it. It can be large, so it is saved
    every so many seconds and with better weights only; a shorter run has none, and nothing for these to disagree with.
    """

    def __init__(
        self, folder: Path, network: Classifier, progress: Progress, fabric: Fabric, every: float = 60.0
    ) -> None:
        self._folder, self._network, self._progress = folder, network, progress
        self._fabric, self._every = fabric, every
        self._saved_at = monotonic()
        self._stored: dict[str, Any] | None = None

    def restore(self, facts: Callable[[], NetworkFacts]) -> None:
        """Bring network, progress and best weights back to where they were saved; the optimizer follows in `follow`.

        `facts` are those of the network at the progress' best epoch. Raises BadInput where the file is missing, damaged
        or of another version.
        """
        self._stored = read_last(self._folder / LAST)
        self._network.load_state_dict(self._stored["network"])
        progress = self._progress
        for name, value in self._stored["progress"].items():
            setattr(progress, name, value)
        if progress.best_epoch == progress.epoch:  # perhaps it was killed before these were written
            save_best(self._folder, self._network, facts())
        elif (kept := read_facts(self._folder)).epoch != progress.best_epoch:
            # Earlier versions wrote weights without the state: what is there counts, until it is equalled.
            progress.best_epoch, progress.best_val_accuracy = kept.epoch, kept.val_accuracy
            progress.best_val_loss = math.inf

    def follow(self, optimizer: Optimizer, schedule: Schedule) -> None:
        """From now on save these too; brought back as well, if they come from `restore`."""
        self._optimizer, self._schedule = optimizer, schedule
        if self._stored is not None:
            optimizer.load_state_dict(self._stored["optimizer"])
            schedule.load_state_dict(self._stored["schedule"])
            self._fabric.strategy.precision.load_state_dict(self._stored.get("precision", {}))
            _set_generators(self._stored)
            self._stored = None

    def keep(self, best: NetworkFacts | None) -> None:
        """After an epoch: the state, where it is due, and then the weights, where it was the `best`."""
        file = self._folder / LAST
        if monotonic() - self._saved_at >= self._every or (best and file.exists()):
            self._save(file)
        if best:
            save_best(self._folder, self._network, best)

    def _save(self, file: Path) -> None:
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
        _write(file, lambda path: torch.save(state, path))
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


def read_last(file: Path) -> dict[str, Any]:
    """What `Saver` wrote; only tensors and plain values are read, nothing in the file is run. BadInput otherwise."""
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, OSError):
        raise BadInput(f"{file} is missing, cut short or no saved state: the run cannot go on") from None
    version = stored.get("format_version") if isinstance(stored, dict) else None
    if version != FORMAT_VERSION:
        raise BadInput(f"{file} has format_version {version}; this version reads {FORMAT_VERSION}")
    return dict(stored)


def drop_last(folder: Path) -> None:
    """A finished run needs it no more."""
    (folder / LAST).unlink(missing_ok=True)


def _write(file: Path, write: Callable[[Path], object]) -> None:
    """Whole or not at all, and readable by others, as whoever serves a run may be."""

    def readable(fresh: Path) -> None:
        write(fresh)
        fresh.chmod(0o644)

    write_whole(file, readable)
