"""What a model gives as its reasons for an answer: a part of the answer, for whoever asks for it."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.data.batch import Inputs
from pipeline.data.survey.measure import to_jpeg
from pipeline.explaining.attributes import InWords, in_words_of
from pipeline.explaining.drawing import overlay
from pipeline.explaining.looks import Look, looks
from pipeline.explaining.methods import Method
from pipeline.models.classifier import Classifier, Wants

RULES = ("overruled", "breaks")
METHOD: Method = "gradcam"  # as cheap as the answer, and it passed the tests of docs/measurements.md


@dataclass(frozen=True)
class Reasons:
    """Where in the picture the evidence for the label lies: of several networks the mean, as `looks` has it first.

    `words`: what the attributes say for and against the label, of each network that reads any.
    """

    look: Look
    words: tuple[InWords, ...] = ()
    file: str | None = None  # the picture of it, where it was written

    @property
    def overlay(self) -> str:
        """The picture as it was read with the map over it, as an address that a page can show."""
        return f"data:image/jpeg;base64,{base64.b64encode(to_jpeg(overlay(self.look))).decode()}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON says it: the map as the network has it, the picture of it, and the words."""
        heat = [[round(value, 3) for value in row] for row in self.look.heat.tolist()]
        said: dict[str, Any] = {"method": METHOD, "map": heat, "overlay": self.overlay}
        return said | ({"attributes": [one.to_dict() for one in self.words]} if self.words else {})

    def to_row(self) -> dict[str, Any]:
        """As a line of a CSV says it; of several networks with attributes what the first says, and the rules of all."""
        row = {} if self.file is None else {"looked_at": self.file}
        row |= self.words[0].to_row() if self.words else {}
        for other in self.words[1:]:
            rules = {name: text for name, text in other.to_row().items() if name in RULES}
            row |= {name: f"{row[name]} | {text}" if name in row else text for name, text in rules.items()}
        return row


def reasons(
    members: Sequence[Classifier], inputs: Mapping[Wants, Inputs], codes: torch.Tensor, classes: Sequence[str]
) -> list[Reasons]:
    """Those for the `classes` that were answered, by `codes` (n,)."""
    seen, words = looks(members, inputs, codes, METHOD), in_words_of(members, inputs, codes, classes)
    return [Reasons(every[0], said) for every, said in zip(seen, words, strict=True)]
