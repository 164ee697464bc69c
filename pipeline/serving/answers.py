"""What a model says of pictures: one typed record a picture, which CSV, JSON and pages print.

Made of what networks said, whoever asked them: nothing here needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

from pipeline.common.errors import BadInput
from pipeline.common.wording import percent
from pipeline.serving.described import Described
from pipeline.serving.only import among
from pipeline.serving.seen import Seen, as_one, calibrated_as_one, unknown_among
from pipeline.serving.taxon import Taxon, taxa

if TYPE_CHECKING:
    from pipeline.serving.reasons import Reasons

_MOSTLY = 0.5  # of the probability: with less of it on a list, something else would have been said


@dataclass(frozen=True)
class Wanted:
    """What is asked of each picture: how many of the likeliest labels, sets of what coverage, from when to answer, and
    whether to give reasons.

    `error`: at most what share of answers may be wrong, by which a rank is chosen; None leaves it to the model.
    `only`: names of the classes, or of taxa above them, that can be the answer; none: all of them.
    `known_sent_away`: which share of known pictures may be called unknown; None leaves it to the model.
    Raises BadInput for what makes no sense.
    """

    top_k: int = 5
    coverage: float | None = None
    min_probability: float = 0.0
    error: float | None = None
    only: tuple[str, ...] = ()
    known_sent_away: float | None = None
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
    `taxon` is the answer at the rank that is sure; None where the model promises none. `elsewhere` is what would have
    been said without a list of what can be, with its probability, where most of the probability is off that list.
    `unknown`: whether it may well be none of the classes; None where the model cannot tell.
    """

    top_k: tuple[tuple[str, float], ...]
    taxonomy: dict[str, Any] = field(default_factory=dict)
    prediction_set: tuple[str, ...] | None = None
    answered: bool | None = None
    unknown: bool | None = None
    taxon: Taxon | None = None
    elsewhere: tuple[str, float] | None = None
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
        if self.taxon is not None:
            said |= self.taxon.to_dict()
        if self.unknown is not None:
            said["unknown"] = self.unknown
        if self.prediction_set is not None:
            said["prediction_set"] = list(self.prediction_set)
        if self.answered is not None:
            said["answered"] = self.answered
        if self.elsewhere is not None:
            said["without_list"] = dict(zip(("label", "probability"), self.elsewhere, strict=True))
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
        if self.elsewhere is not None:
            row |= dict(zip(("label_without_list", "probability_without_list"), self.elsewhere, strict=True))
        if self.reasons is not None:
            row |= self.reasons.to_row()
        taxon = {} if self.taxon is None else self.taxon.to_row() | {"unknown": self.unknown}
        return row | taxon | self.taxonomy


def answers(
    model: Described, seen: Seen, digests: Sequence[str], wanted: Wanted,
    unknown: Sequence[tuple[bool, float] | None] | None = None,
) -> list[Answer]:  # fmt: skip
    """What a model says by what its networks do.

    `digests` (n,), each of a picture's bytes, are what the chance in its set comes from: it always has the same set.
    """
    found = seen.scores
    probabilities, whole, inside = probabilities_of(model, found, wanted)
    promised = model.calibration.depth(wanted.error)
    found_taxa: Sequence[Taxon | None] = [None] * len(found)
    if promised is not None:
        found_taxa = taxa(model.tree, model.taxonomy, probabilities.argmax(1), probabilities, promised[1])
    sets: list[np.ndarray] | list[None] = [None] * len(found)
    if wanted.coverage is not None:
        sets = model.calibration.set_rule(wanted.coverage).choose(found.astype(np.float64), digests)
    said = [_answer(model, *one, inside, wanted) for one in zip(probabilities, whole, sets, found_taxa, strict=True)]
    unknown = unknown_among(model, seen, wanted.known_sent_away) if unknown is None else unknown
    return [one if strange is None else _told(one, *strange) for one, strange in zip(said, unknown, strict=True)]


def _told(said: Answer, unknown: bool, share: float) -> Answer:
    """An answer that says whether it may be none of the classes, in words too."""
    if not unknown or said.taxon is None:
        return replace(said, unknown=unknown)
    why = f"perhaps none of the known: stranger than {percent(1 - share, 0)} of known pictures; {said.taxon.why}"
    return replace(said, unknown=True, taxon=replace(said.taxon, why=why))


def probabilities_of(model: Described, found: np.ndarray, wanted: Wanted) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The probabilities (n, k) by scores: of the classes that can be the answer, of all, and (k,) which can be."""
    exact = found / np.float64(model.calibration.temperature)
    whole = softmax(exact, axis=1)
    if not wanted.only:
        return whole, whole, np.ones(len(model.classes), dtype=bool)
    inside = among(wanted.only, model.called, len(model.classes), "only")
    return softmax(np.where(inside, exact, -inf), axis=1), whole, inside


def _answer(
    model: Described, probabilities: np.ndarray, whole: np.ndarray, codes: np.ndarray | None, taxon: Taxon | None,
    inside: np.ndarray, wanted: Wanted,
) -> Answer:  # fmt: skip
    """What is said of a picture by its probabilities among those `inside` (k,) a list, and by its `whole` ones."""
    likeliest = np.argsort(-probabilities, kind="stable")[: min(wanted.top_k, int(inside.sum()))]
    top = tuple((model.classes[code], float(probabilities[code])) for code in likeliest)
    off = whole[inside].sum() < _MOSTLY
    return Answer(
        top_k=top,
        taxonomy={} if model.taxonomy is None else model.taxonomy.loc[top[0][0]].dropna().to_dict(),
        prediction_set=None if codes is None else _set(model, codes[inside[codes]], likeliest[:1]),
        answered=top[0][1] >= wanted.min_probability if wanted.min_probability else None,
        taxon=taxon,
        elsewhere=(model.classes[whole.argmax()], float(whole.max())) if off else None,
    )


def _set(model: Described, codes: np.ndarray, likeliest: np.ndarray) -> tuple[str, ...]:
    """A set, which holds the label at least: of those on a list perhaps none was in it."""
    return tuple(model.classes[code] for code in (codes if len(codes) else likeliest))


def digest(picture: bytes) -> str:
    """What a picture's set is told apart by."""
    return sha256(picture).hexdigest()


def answer_group(model: Described, seen: Seen, of_all: str, wanted: Wanted) -> Answer:
    """The answer to one animal by what is said of its pictures; `of_all` is the digest of these.

    Whether it is unknown was promised for single pictures, so that it goes by the mean of these.
    """
    calibrated, one = calibrated_as_one(model, seen)
    unknown = unknown_among(model, as_one(model, seen), wanted.known_sent_away)
    (said,) = answers(calibrated, one, [of_all], wanted, unknown)
    return said
