"""What a model gives as its reasons for an answer: a part of the answer, for whoever asks for it."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.data.batch import Inputs
from pipeline.data.survey.measure import to_jpeg
from pipeline.explaining.drawing import overlay
from pipeline.explaining.looks import Look, looks
from pipeline.explaining.methods import Method
from pipeline.models.classifier import Classifier, Wants

METHOD: Method = "gradcam"  # as cheap as the answer, and it passed the tests of docs/measurements.md


@dataclass(frozen=True)
class Reasons:
    """Where in the picture the evidence for the label lies: of several networks the mean, as `looks` has it first."""

    look: Look
    file: str | None = None  # the picture of it, where it was written

    def to_dict(self) -> dict[str, Any]:
        """As JSON says it: the map as the network has it, and the picture as it was read with the map over it."""
        shown = base64.b64encode(to_jpeg(overlay(self.look))).decode()
        heat = [[round(value, 3) for value in row] for row in self.look.heat.tolist()]
        return {"method": METHOD, "map": heat, "overlay": f"data:image/jpeg;base64,{shown}"}

    def to_row(self) -> dict[str, Any]:
        """As a line of a CSV says it."""
        return {} if self.file is None else {"looked_at": self.file}


def reasons(members: Sequence[Classifier], inputs: Mapping[Wants, Inputs], codes: torch.Tensor) -> list[Reasons]:
    """Those for the classes (n,) that were answered."""
    return [Reasons(every[0]) for every in looks(members, inputs, codes, METHOD)]
