"""The classes' names, as texts, in place of training pictures."""

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from string import Formatter

import pandas as pd
import torch
from torch.nn.functional import linear, normalize

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.data.taxonomy import COLUMNS, RANKS
from pipeline.models.heads.fitted import Tempered

EXTRA = "head=text needs {}: pip install -e '.[text]'"


class Text(Tempered):
    """Learns nothing from pictures: a picture is of the class whose texts are nearest by cosine (CLIP, Radford 2021).

    What the network's text side makes of the texts is kept, so whoever is asked later needs its picture side alone:
    features go through its `projection` to where the texts' mean of each class, `embeddings`, lies. The temperature is
    the one that both sides were trained with.
    """

    learns = False
    projection: torch.Tensor
    shift: torch.Tensor
    embeddings: torch.Tensor

    def __init__(self, n_features: int, n_classes: int, templates: Sequence[str] = ("a photo of {name}.",)) -> None:
        super().__init__()
        self.templates = tuple(templates)
        self.register_buffer("projection", torch.zeros(0, n_features))
        self.register_buffer("shift", torch.zeros(0))
        self.register_buffer("embeddings", torch.zeros(n_classes, 0))

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        return normalize(linear(features, self.projection, self.shift)) @ self.embeddings.T

    def meet(self, classes: Sequence[str]) -> None:
        if find_spec("open_clip") is None:
            raise BadInput(EXTRA.format("open_clip"))

    def fit(self, features: torch.Tensor, labels: torch.Tensor, **_: torch.Tensor | None) -> None:
        """There is nothing to learn."""

    def calibrate(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        """It is asked as it came."""

    def texts(self, classes: Sequence[str], taxonomy: pd.DataFrame | None) -> list[list[str]]:
        """What is said of each class: every template of which all is known. BadInput where that is none.

        A template's `{name}` is the class's name in words, `{genus}` and the like are columns of the taxonomy (a row a
        class, in their order), `{taxon}` is all its ranks from the root down.
        """
        known = ("name", "taxon", *COLUMNS)
        for one in self.templates:
            if not (asked := _fields(one)):
                raise BadInput(f"head.templates: {one!r} says the same of every class: it needs a {{name}}")
            for field in asked.difference(known):
                raise BadInput(f"head.templates: there is no {{{field}}}{did_you_mean(field, known)}")
            if taxonomy is None and asked != {"name"}:
                raise BadInput(f"head.templates: {one!r} needs a taxonomy: name one with data.taxonomy=FILE")
        rows = [{}] * len(classes) if taxonomy is None else taxonomy.to_dict("records")
        return [self._of(name, _known(name, row)) for name, row in zip(classes, rows, strict=True)]

    def _of(self, name: str, known: Mapping[str, str]) -> list[str]:
        said = [one.format(**known) for one in self.templates if known.keys() >= _fields(one)]
        if not said:
            raise BadInput(
                f"head.templates: the taxonomy knows too little of {name} for any of them: add one with {{name}} alone"
            )
        return said


def _fields(template: str) -> set[str]:
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise BadInput(f"head.templates: {template!r} is no template ({error})") from None
    if any(form or conversion for _, _, form, conversion in parts):
        raise BadInput(f"head.templates: {template!r} is no template (in braces stands a name alone, as in {{name}})")
    return {field for _, field, _, _ in parts if field is not None}


def _known(name: str, row: Mapping[str, object]) -> dict[str, str]:
    """What templates may ask of a class, of which there is something to say."""
    ranks = {column: str(value) for column, value in row.items() if column in COLUMNS and not pd.isna(value)}
    line = [ranks[rank] for rank in RANKS if rank in ranks]
    if ranks.get("species", "").startswith(f"{ranks.get('genus')} "):
        line.remove(ranks["genus"])  # the species says it
    taxon = {"taxon": " ".join(line)} if line else {}
    return ranks | taxon | {"name": _words(name)}


def _words(name: str) -> str:
    """`Black footed Albatross` of `001.Black_footed_Albatross`, as folders are often called."""
    return re.sub(r"^\d+[\W_]+(?=[^\W\d])", "", name).replace("_", " ").strip()
