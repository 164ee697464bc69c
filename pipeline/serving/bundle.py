"""A served model as a folder: weights as safetensors, all else in one JSON. A single network is an ensemble of one."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from pipeline.common.errors import BadInput
from pipeline.data.beside.registry import columns_of
from pipeline.data.beside.set_by_hand import COLUMN as SET_BY_HAND
from pipeline.data.boxes.crop import COLUMNS
from pipeline.data.reading.preprocessing import looks_at_boxes
from pipeline.ensembles.rules import Rule, from_dict, to_dict
from pipeline.models.classifier import Classifier, NetworkSpec
from pipeline.models.saved import BEST_WEIGHTS, MODEL_FACTS, NetworkFacts, checked_weights, load_network, read_facts
from pipeline.serving.calibration import Calibration
from pipeline.serving.described import Described, facts
from pipeline.serving.known import FILE as KNOWN
from pipeline.serving.known import Known

FORMAT_VERSION = 3
_READ = (2, 3)  # 2 promises no rank


@dataclass(frozen=True, kw_only=True)
class Bundle(Described):
    """A served model, ready to answer.

    `rule` makes one answer of the members'; a single network needs none. `turn`: threads ask the networks one after
    the other, as who asks for reasons hooks into them, and several at once would only share the processor.
    """

    members: tuple[Classifier, ...]
    rule: Rule | None
    turn: Lock = field(default_factory=Lock, repr=False, compare=False)

    @property
    def columns(self) -> dict[str, str]:
        """What its networks read beside the pictures, with its types; they answer without it too."""
        return _columns(member.spec for member in self.members)

    @property
    def attributes(self) -> tuple[str, ...]:
        """What its networks read of a picture on the way to the class, and what may be set by hand."""
        return tuple(dict.fromkeys(name for member in self.members for name in member.spec.wants.attributes))

    @property
    def device(self) -> torch.device:
        """Where its networks are."""
        return next(self.members[0].parameters()).device

    @property
    def looks_at_boxes(self) -> bool:
        """Whether a box in a picture makes a difference to one of its networks."""
        return COLUMNS[0] in self.columns


def write_bundle(
    folder: Path,
    checkpoints: Mapping[str, Path],
    rule: Rule | None = None,
    calibration: Calibration | None = None,
    known: Known | None = None,
) -> NetworkFacts:
    """Assemble a served model from runs' `checkpoints/` folders by name; gives the first member's facts.

    Raises BadInput, naming the member, where members differ in classes or their order, or weights are gone or broken.
    """
    if rule is None and len(checkpoints) > 1:
        raise ValueError("several networks need a rule")
    folder.mkdir(parents=True, exist_ok=True)
    facts = {name: _facts(name, checkpoint) for name, checkpoint in checkpoints.items()}
    first_name, first = next(iter(facts.items()))
    for name, one in facts.items():
        if one.classes != first.classes:
            raise BadInput(f"{name} knows other classes, or in another order, than {first_name}")
    members = []
    for number, (name, one) in enumerate(facts.items()):
        file = f"member{number}.safetensors"
        shutil.copyfile(checkpoints[name] / BEST_WEIGHTS, folder / file)
        _check_weights(name, one.spec, folder / file)
        members.append({"name": name, "network": one.spec.to_dict(), "weights": file})
    plain = first.to_dict()
    description = {
        "format_version": FORMAT_VERSION,
        "classes": plain["classes"],
        "members": members,
        "rule": None if rule is None else to_dict(rule),
        "calibration": (calibration or Calibration()).to_dict(),
        "known": None if known is None else known.write(folder),
        "taxonomy": plain["taxonomy"],
        "columns": _columns(one.spec for one in facts.values()),
    }
    (folder / MODEL_FACTS).write_text(json.dumps(description, indent=1), encoding="utf-8")
    return first


def _columns(several: Iterable[NetworkSpec]) -> dict[str, str]:
    """What networks read beside the pictures, with its types: columns, a box where one of them looks at it, attributes
    that were set by hand where one of them has any.
    """
    specs = list(several)
    boxes = any(looks_at_boxes(spec.preprocessing) for spec in specs)
    by_hand = any(spec.wants.attributes for spec in specs)
    found = columns_of(spec.beside for spec in specs) | (dict.fromkeys(COLUMNS, "double") if boxes else {})
    return found | ({SET_BY_HAND: "string"} if by_hand else {})


def _check_weights(name: str, spec: NetworkSpec, weights: Path) -> None:
    """Raises BadInput for weights that no network can be served with: cut short, another network's, not finite."""
    for tensor in checked_weights(spec, weights).values():
        if not torch.isfinite(tensor).all():
            raise BadInput(f"the weights of {name} hold values that are not finite; choose another run")


def _facts(name: str, checkpoint: Path) -> NetworkFacts:
    if not (checkpoint / BEST_WEIGHTS).is_file():
        raise BadInput(
            f"the weights of {name} are gone: there is no {checkpoint / BEST_WEIGHTS} (with tracking.keep_weights=best "
            "a sweep keeps its best run's alone); train it again with resume=never"
        )
    return read_facts(checkpoint)


def read_bundle(folder: Path) -> Bundle:
    """The served model that `write_bundle` wrote. Raises BadInput for another format, or what is damaged."""
    plain = description(folder)
    with _damage_in_one_line(folder):
        members = [
            load_network(NetworkSpec.from_dict(one["network"]), folder / one["weights"]) for one in plain["members"]
        ]
        share_backbones(members)
        for member in members:
            member.to(memory_format=torch.channels_last)  # as pictures come
        return Bundle(
            members=tuple(members),
            rule=None if plain["rule"] is None else from_dict(plain["rule"]),
            **facts(plain, folder / KNOWN),
        )


def first_network(folder: Path) -> NetworkSpec:
    """How a served model's first member is built, and sees pictures. Raises BadInput as `read_bundle`."""
    with _damage_in_one_line(folder):
        return NetworkSpec.from_dict(description(folder)["members"][0]["network"])


def description(folder: Path) -> dict[str, Any]:
    """What `write_bundle` wrote beside the weights. Raises BadInput for another format, or what is no such file."""
    try:
        plain: dict[str, Any] = json.loads((folder / MODEL_FACTS).read_text(encoding="utf-8"))
        version = plain.get("format_version")
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(f"{folder / MODEL_FACTS} is missing or no JSON ({error})") from None
    if version not in _READ:
        raise BadInput(
            f"{folder / MODEL_FACTS} has format_version {version}; "
            f"this version reads {FORMAT_VERSION}: promote the run again"
        )
    return plain


@contextmanager
def _damage_in_one_line(folder: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(
            f"{folder / MODEL_FACTS} is damaged ({type(error).__name__}: {error}): promote the run again"
        ) from None


def share_backbones(members: list[Classifier]) -> None:
    """Give members with equal backbones (heads on one frozen network) one of them, so that it is asked once."""
    for number, member in enumerate(members):
        for other in members[:number]:
            if _same_backbone(member, other):
                member.backbone = other.backbone
                break


def _same_backbone(one: Classifier, other: Classifier) -> bool:
    mine, theirs = one.spec, other.spec
    if (mine.name, mine.preprocessing, mine.head.kind.reads) != (
        theirs.name,
        theirs.preprocessing,
        theirs.head.kind.reads,
    ):
        return False
    states = one.backbone.state_dict(), other.backbone.state_dict()
    return all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
