"""The backbones that a config chooses, one or several joined: how each sees pictures, and where its weights are."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.config import schema
from pipeline.data.beside.registry import Beside, known, to_list
from pipeline.data.contents import content_digests, file_states
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.table import PictureTable
from pipeline.models.published import IMAGENET_MEAN, IMAGENET_STD, AsTrained, Named, as_trained, load_pretrained, named
from pipeline.models.saved import BEST_FACTS, BEST_WEIGHTS, FIRST_MEMBER, MODEL_FACTS, read_facts
from pipeline.models.shelf import shelf
from pipeline.models.sight import Part
from pipeline.models.weights import Loaded, load_file
from pipeline.serving.bundle import first_network
from pipeline.tracking.registry import weights_of

log = logging.getLogger(__name__)

Asking = TypeVar("Asking", bound=schema.Train)  # a training, or a command that asks as one

# What would say otherwise than a join which networks there are, and at which size they see pictures.
_OF_ONE = ("model=", "model.name=", "model.weights=", "model.weights_file=", "data.image_size=")

_NORMS = {"imagenet": (IMAGENET_MEAN, IMAGENET_STD), "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))}


@dataclass(frozen=True)
class Backbone:
    """A network by its `model.name`, and its weights: published ones by their name, or those of a `file`.

    `joined_as` is its name among several.
    """

    name: str
    weights: str
    file: Path | None = None
    joined_as: str | None = None

    @property
    def found(self) -> Named:
        """The library's network that the name stands for."""
        return named(self.name)

    def as_trained(self) -> AsTrained:
        """How pictures were shown to it when its weights were made."""
        if self.file and (how := _made_for(self.file)):
            if how.joined:
                raise BadInput(
                    f"model.weights_file: those are of several networks joined ({how.name}): leave it out and join "
                    "them again with model.join=, or name one network's"
                )
            return AsTrained(
                how.preprocessing.mean, how.preprocessing.std, how.preprocessing.interpolation,
                how.preprocessing.image_size,
            )  # fmt: skip
        return as_trained(self.name, self.weights, self.file)

    def part(self, data: schema.Data) -> Part:
        """As it sees pictures: of the size asked for (beside others its own), normalised as trained, or as asked."""
        norm = self.as_trained()
        side = norm.image_size if self.joined_as or data.image_size == "auto" else data.image_size
        mean, std = _NORMS.get(data.normalise, (norm.mean, norm.std))
        margin = data.crop_margin if data.crop != "none" else 0.0
        how = Preprocessing(side, data.fit, norm.interpolation, mean, std, data.crop, margin)
        return Part(self.found.name, how, self.found.options)

    def load(self, network: nn.Module) -> Loaded:
        """Give the network its weights. BadInput where there are none, or they are another's."""
        if self.file:
            said = f"model.join_weights.{self.joined_as}={self.file}" if self.joined_as else None
            return load_file(network, self.file, self.found.name, said)
        if self.joined_as:
            named_by = f"'model.join_weights={{{self.joined_as}: PATH}}'"
            return load_pretrained(network, self.name, self.weights, named_by)
        return load_pretrained(network, self.name, self.weights)


def _made_for(file: Path) -> Any:
    """The spec of the network whose weights a run or a served model keeps in a file; None for any other file."""
    if file.name == BEST_WEIGHTS and file.with_name(BEST_FACTS).exists():
        return read_facts(file.parent).spec
    if file.name == FIRST_MEMBER and file.with_name(MODEL_FACTS).exists():
        return first_network(file.parent)
    return None


def backbones(config: schema.Train) -> list[Backbone]:
    """Those that a config chooses."""
    model = config.model
    if not model.join:
        return [Backbone(model.name, model.weights, own_weights(config))]
    known = {one.answer: one for one in shelf()}
    files = {name: expanded(file, "model.join_weights") for name, file in model.join_weights.items()}
    return [Backbone(known[one].name, known[one].weights, files.get(one), one) for one in model.join]


def files_digest(config: schema.Train, beside: Beside, table: PictureTable) -> str:
    """Twelve hex digits of what the files beside the pictures hold: the names of a config stay while these change.

    And of what the `table` knows `beside` its pictures' pixels, boxes and attributes too, wherever that was read.
    """
    keys = {"data.taxonomy": config.data.taxonomy}
    keys |= {f"head.{name}": getattr(config.head, name, None) for name in ("mapping", "rules")}
    named_so = [expanded(path, key) for key, path in keys.items() if path]
    files = [str(file) for file in (*(one.file for one in backbones(config)), *named_so) if file]
    held = [content_digests(files, file_states(files)).tobytes()]
    if beside:
        held += [beside_digest(beside, table).encode()]
    if table.attributes is not None:
        held += [table.attributes.to_csv().encode()]
    if table.boxes is not None:
        held += [table.boxes.tobytes()]
    return sha256(b"".join(held)).hexdigest()[:12]


def beside_digest(beside: Beside, table: PictureTable) -> str:
    """Twelve hex digits of what a table knows beside its pictures' pixels, as a network wants it."""
    values = [value.numpy().tobytes() for value in known(beside, table.rows) if value is not None]
    return sha256(b"".join([json.dumps(to_list(beside)).encode(), *values])).hexdigest()[:12]


def own_weights(config: schema.Train) -> Path | None:
    """The file of weights that `model.weights_file` names: a path, or an earlier run's or registered model's.

    None where the regime begins from chance.
    """
    named_so = config.model.weights_file
    if named_so is None or config.regime.weights == "none":
        return None
    if named_so.startswith(("runs:/", "models:/")):
        return weights_of(named_so)
    return expanded(named_so, "model.weights_file")


def check_joined(config: schema.Train, typed: Sequence[str] = ()) -> None:
    """BadInput where networks are to be joined that train, are to see augmented pictures, or one more is `typed`."""
    if not config.model.join:
        return
    if config.regime.trains != "head" or config.regime.weights == "none":
        raise BadInput(
            f"model.join puts features of frozen networks side by side: regime=frozen, not {config.regime.name}"
        )
    if config.regime.views:
        raise BadInput("model.join: each network would see other augmented copies: leave out regime.views")
    if config.head.name in ("pretrained", "text"):
        raise BadInput(
            f"head={config.head.name} asks one network as it came: leave out model.join, name it with model="
        )
    for override in typed:
        if override.lstrip("+").startswith(_OF_ONE):
            raise BadInput(
                f"model.join names its networks itself, each with its own picture size: leave out {override}"
            )


def with_its_size(config: Asking) -> Asking:
    """The config with the network's own picture size, where it asks for that: what is recorded is a number.

    Of networks that are joined it is the largest.
    """
    if config.data.image_size != "auto" and not config.model.join:
        return config
    sides = [one.as_trained().image_size for one in backbones(config)]
    shown = " and ".join(map(str, sides))
    log.info("data.image_size=%s, which the weights of %s are for", shown, config.model.name)
    return config.model_copy(update={"data": config.data.model_copy(update={"image_size": max(sides)})})
