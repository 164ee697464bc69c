"""What a model says of pictures: one typed record a picture, which CSV, JSON and pages print."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import inf
from time import monotonic
from typing import Any

import numpy as np
import pandas as pd
import torch

from pipeline.common.errors import BadInput
from pipeline.data.batch import Inputs
from pipeline.data.beside.exif import with_exif
from pipeline.data.beside.registry import known
from pipeline.data.boxes.columns import boxes_of
from pipeline.data.boxes.crop import COLUMNS, boxed
from pipeline.data.reading.decoding import UnreadablePicture
from pipeline.data.reading.preprocessing import Reading, Source
from pipeline.ensembles.scoring import scores
from pipeline.models.classifier import Wants
from pipeline.serving.bundle import Bundle
from pipeline.serving.reasons import Reasons, reasons

BATCH = 16  # pictures: larger ones gain nothing on a processor and cost memory


@dataclass(frozen=True)
class Wanted:
    """What is asked of each picture: how many of the likeliest labels, sets of what coverage, from when to answer, and
    whether to give reasons.

    Raises BadInput for what makes no sense.
    """

    top_k: int = 5
    coverage: float | None = None
    min_probability: float = 0.0
    explain: bool = False

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise BadInput(f"top_k={self.top_k}: at least 1")
        if not 0 <= self.min_probability <= 1:
            raise BadInput(f"min_probability={self.min_probability}: a share between 0 and 1")


@dataclass(frozen=True)
class Answer:
    """What is said of a picture: its likeliest labels with their calibrated probabilities, likeliest first.

    `taxonomy` has the first label's ranks by name; `prediction_set` labels that hold the true one as often as was
    asked for; `answered` whether the first label is as likely as was asked for; `reasons` where the evidence for it
    lies. None: not asked.
    """

    top_k: tuple[tuple[str, float], ...]
    taxonomy: dict[str, Any] = field(default_factory=dict)
    prediction_set: tuple[str, ...] | None = None
    answered: bool | None = None
    reasons: Reasons | None = None

    @property
    def label(self) -> str:
        """The likeliest."""
        return self.top_k[0][0]

    @property
    def probability(self) -> float:
        """Of the label."""
        return self.top_k[0][1]

    def to_dict(self) -> dict[str, Any]:
        """As JSON says it."""
        top = [{"label": label, "probability": probability} for label, probability in self.top_k]
        said: dict[str, Any] = {**top[0], "top_k": top}
        if self.taxonomy:
            said["taxonomy"] = self.taxonomy
        if self.prediction_set is not None:
            said["prediction_set"] = list(self.prediction_set)
        if self.answered is not None:
            said["answered"] = self.answered
        if self.reasons is not None:
            said["reasons"] = self.reasons.to_dict()
        return said

    def to_row(self) -> dict[str, Any]:
        """As a line of a CSV says it."""
        row: dict[str, Any] = {"label": self.label, "probability": self.probability}
        for place, (label, probability) in enumerate(self.top_k[1:], start=2):
            row |= {f"label_{place}": label, f"probability_{place}": probability}
        if self.prediction_set is not None:
            row["set"] = "; ".join(self.prediction_set)
        if self.answered is not None:
            row["answered"] = self.answered
        if self.reasons is not None:
            row |= self.reasons.to_row()
        return row | self.taxonomy


def answers(bundle: Bundle, found: torch.Tensor, digests: Sequence[str], wanted: Wanted) -> list[Answer]:
    """What a model says by its scores (n, k) `found`.

    `digests` (n,), each of a picture's bytes, are what the chance in its set comes from: it always has the same set.
    """
    exact = found.double()
    probabilities = (exact / bundle.calibration.temperature).softmax(1).numpy()
    sets: list[np.ndarray] | list[None] = [None] * len(probabilities)
    if wanted.coverage is not None:
        sets = bundle.calibration.set_rule(wanted.coverage).choose(exact.numpy(), digests)
    return [_answer(bundle, row, codes, wanted) for row, codes in zip(probabilities, sets, strict=True)]


def _answer(bundle: Bundle, probabilities: np.ndarray, codes: np.ndarray | None, wanted: Wanted) -> Answer:
    likeliest = np.argsort(-probabilities, kind="stable")[: wanted.top_k]
    top = tuple((bundle.classes[code], float(probabilities[code])) for code in likeliest)
    return Answer(
        top_k=top,
        taxonomy={} if bundle.taxonomy is None else bundle.taxonomy.loc[top[0][0]].dropna().to_dict(),
        prediction_set=None if codes is None else tuple(bundle.classes[code] for code in codes),
        answered=top[0][1] >= wanted.min_probability if wanted.min_probability else None,
    )


def with_reasons(
    bundle: Bundle, said: Sequence[Answer], inputs: Mapping[Wants, Inputs], found: torch.Tensor
) -> list[Answer]:
    """Answers, by scores (n, k) `found`, with reasons for their labels. BadInput where a network has none to give."""
    given = reasons(bundle.members, inputs, found.argmax(1))
    return [replace(one, reasons=why) for one, why in zip(said, given, strict=True)]


def digest(picture: bytes) -> str:
    """What a picture's set is told apart by."""
    return sha256(picture).hexdigest()


def answer(
    bundle: Bundle, pictures: Sequence[bytes], wanted: Wanted | None = None, until: float = inf,
    facts: pd.DataFrame | None = None,
) -> list[Answer]:  # fmt: skip
    """The answers to pictures' bytes, some at a time; none is begun after the time `until` (of `time.monotonic`).

    `facts`: a row a picture of what is known beside it, of which `Bundle.columns` are read. Raises UnreadablePicture
    that names the place of the first that cannot be read, and BadInput where time ran out or a fact cannot be.
    """
    wanted, said = wanted or Wanted(), list[Answer]()
    rows = pd.DataFrame(index=range(len(pictures))) if facts is None else facts
    rows = with_exif(rows, bundle.columns, lambda: pictures)
    shown = as_shown(bundle, pictures, facts)
    beside = {want: known(want.beside, rows) for want in dict.fromkeys(one.spec.wants for one in bundle.members)}
    for start in range(0, len(pictures), BATCH):
        if monotonic() > until:
            raise BadInput(f"time ran out after {start:,} of {len(pictures):,} pictures: send fewer in a request")
        some = pictures[start : start + BATCH]
        seen = shown[start : start + BATCH]
        read = {how: _read(how, seen, start) for how in dict.fromkeys(want.reading for want in beside)}
        here = np.arange(start, start + len(some))
        inputs = {want: read[want.reading].also(what.take(here)) for want, what in beside.items()}
        digests = [digest(picture) for picture in some]
        found = scores(bundle.members, bundle.rule, inputs)
        here_said = answers(bundle, found, digests, wanted)
        said += with_reasons(bundle, here_said, inputs, found) if wanted.explain else here_said
    return said


def as_shown(bundle: Bundle, pictures: Sequence[bytes], facts: pd.DataFrame | None) -> Sequence[Source]:
    """The pictures with the boxes in them that `facts` know, for a model that looks at boxes. BadInput for odd ones."""
    if facts is None or not bundle.looks_at_boxes or not set(facts).intersection(COLUMNS):
        return pictures
    boxes = facts.reset_index(drop=True).reindex(columns=list(COLUMNS))
    return boxed(pictures, boxes_of(boxes, "shares", lambda _: [], unit_key=""))


def _read(how: Reading, pictures: Sequence[Source], first: int) -> Inputs:
    read = []
    for place, picture in enumerate(pictures, start=first):
        try:
            read.append(how.read(picture))
        except UnreadablePicture as error:
            raise UnreadablePicture(f"picture {place}:", error.reason, error.lasting) from None
    return Inputs(torch.stack(read))
