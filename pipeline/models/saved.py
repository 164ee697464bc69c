"""A network on disk: its weights as safetensors, and beside them a JSON of what these do not say."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pipeline.common.atomic import write_atomically
from pipeline.common.errors import BadInput
from pipeline.models.backbone import without_memory
from pipeline.models.classifier import Classifier, NetworkSpec, build_classifier

FORMAT_VERSION = 1
BEST_WEIGHTS, BEST_FACTS = "best.safetensors", "best.json"
FIRST_MEMBER, MODEL_FACTS = "member0.safetensors", "model.json"  # of a served model
# Of a run that was fitted once more on train and val: what it was when val chose it, which answers for val.
BEFORE_REFIT = "before_refit.safetensors"


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
    save_weights(folder / BEST_WEIGHTS, network)
    text = json.dumps(facts.to_dict(), indent=1)
    write_atomically(folder / BEST_FACTS, lambda path: path.write_text(text, encoding="utf-8"), shared=True)


def save_epoch(folder: Path, network: Classifier, epoch: int) -> None:
    """Keep an epoch's weights beside the best, whose facts hold for them too."""
    save_weights(folder / epoch_file(epoch), network)


def epoch_file(epoch: int) -> str:
    """The name of the file of an epoch's weights."""
    return f"epoch_{epoch}.safetensors"


def save_weights(file: Path, network: Classifier) -> None:
    """Write a network's weights alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    write_atomically(file, lambda path: save_file(state, path), shared=True)


def weights_for(split: str, folder: Path) -> Path:
    """Which of a run's weights answer for a split: those of its best epoch; for val, which chose, as val chose them."""
    before = folder / BEFORE_REFIT
    return before if split == "val" and before.is_file() else folder / BEST_WEIGHTS


def read_facts(folder: Path) -> NetworkFacts:
    """The facts beside a run's weights. Raises BadInput where they are missing or unreadable."""
    file = folder / BEST_FACTS
    try:
        return NetworkFacts.from_dict(json.loads(file.read_text(encoding="utf-8")), str(file))
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{file} is missing or is no description of a network ({error})") from None


def load_network(spec: NetworkSpec, weights: Path) -> Classifier:
    """Build a network from its spec and fill it from a safetensors file, in evaluation mode. BadInput as below."""
    network = build_classifier(spec)
    fill_network(network, weights)
    return network.eval()


def checked_weights(spec: NetworkSpec, weights: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, which are those of a network by name and shape; it takes no memory itself."""
    network = without_memory(lambda: Classifier(spec))
    fill_network(network, weights, assign=True)
    return network.state_dict()


def fill_network(network: Classifier, weights: Path, *, assign: bool = False) -> None:
    """Give a network the weights of a safetensors file: copied into its own, or (`assign`) in their stead.

    Raises BadInput where the file is missing, cut short or belongs to another network.
    """
    try:
        network.load_state_dict(load_file(weights), assign=assign)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{weights} does not hold the weights of {network.spec.name}: {reason}") from None
