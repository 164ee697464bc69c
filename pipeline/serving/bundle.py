"""A served model as a folder: weights as safetensors, all else in one JSON. A single network is an ensemble of one."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.errors import BadInput
from pipeline.models.classifier import Classifier, NetworkSpec
from pipeline.training.checkpoints import BEST_WEIGHTS, NetworkFacts, load_network, read_facts

FORMAT_VERSION = 1
_FILE = "model.json"


@dataclass(frozen=True)
class Member:
    """A network of a served model and its share in the answer."""

    network: Classifier
    weight: float


@dataclass(frozen=True)
class Bundle:
    """A served model, ready to answer. `taxonomy` has a row a class, indexed by class name."""

    members: tuple[Member, ...]
    classes: tuple[str, ...]
    taxonomy: pd.DataFrame | None


def write_bundle(
    folder: Path, checkpoints: Sequence[Path], weights: Sequence[float] | None = None
) -> NetworkFacts:
    """Assemble a served model from runs' `checkpoints/` folders; gives the first member's facts.

    `weights` are the members' shares in the mean of probabilities, equal when left out.
    Raises BadInput where members differ in classes or their order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = [read_facts(checkpoint) for checkpoint in checkpoints]
    for checkpoint, one in zip(checkpoints, facts, strict=True):
        if one.classes != facts[0].classes:
            raise BadInput(f"{checkpoint} knows other classes, or in another order, than {checkpoints[0]}")
    shares = weights or [1 / len(facts)] * len(facts)
    members = []
    for number, (checkpoint, one, share) in enumerate(zip(checkpoints, facts, shares, strict=True)):
        file = f"member{number}.safetensors"
        shutil.copyfile(checkpoint / BEST_WEIGHTS, folder / file)
        members.append({"network": one.spec.to_dict(), "weights": file, "share": share})
    plain = facts[0].to_dict()
    description = {
        "format_version": FORMAT_VERSION,
        "members": members,
        "classes": plain["classes"],
        "taxonomy": plain["taxonomy"],
    }
    (folder / _FILE).write_text(json.dumps(description, indent=1))
    return facts[0]


def read_bundle(folder: Path) -> Bundle:
    """The served model that `write_bundle` wrote. Raises BadInput for another format, or what is damaged."""
    try:
        plain: dict[str, Any] = json.loads((folder / _FILE).read_text())
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder / _FILE} is missing or no JSON ({error})") from None
    if plain.get("format_version") != FORMAT_VERSION:
        raise BadInput(
            f"{folder / _FILE} has format_version {plain.get('format_version')}; this version reads {FORMAT_VERSION}"
        )
    members = tuple(
        Member(load_network(NetworkSpec.from_dict(one["network"]), folder / one["weights"]), one["share"])
        for one in plain["members"]
    )
    taxonomy = None if plain["taxonomy"] is None else pd.DataFrame(**plain["taxonomy"])
    return Bundle(members, tuple(plain["classes"]), taxonomy)
