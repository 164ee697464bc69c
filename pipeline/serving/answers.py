"""What a model says of pictures: one typed record a picture, which CSV, JSON and pages print."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import inf
from time import monotonic
from typing import Any

import numpy as np
import pandas as pd
import torch

from pipeline.common.errors import BadInput
from pipeline.common.wording import percent
from pipeline.data.batch import Inputs
from pipeline.data.beside.exif import with_exif
from pipeline.data.beside.set_by_hand import check_set
from pipeline.data.boxes.columns import boxes_of
from pipeline.data.boxes.crop import COLUMNS, boxed
from pipeline.data.cells import whose
from pipeline.data.reading.decoding import UnreadablePicture
from pipeline.data.reading.preprocessing import Reading, Source
from pipeline.ensembles.scoring import said_of
from pipeline.models.classifier import Wants
from pipeline.serving.bundle import Bundle
from pipeline.serving.only import among
from pipeline.serving.reasons import Reasons, reasons
from pipeline.serving.seen import Seen, all_of, as_one, calibrated_as_one, seen_of, unknown_among
from pipeline.serving.taxon import Taxon, taxa

_MOSTLY = 0.5  # of the probability: with less of it on a list, something else would have been said
BATCH = 16  # pictures: larger ones gain nothing on a processor and cost memory


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
    bundle: Bundle, seen: Seen, digests: Sequence[str], wanted: Wanted,
    unknown: Sequence[tuple[bool, float] | None] | None = None,
) -> list[Answer]:  # fmt: skip
    """What a model says by what its networks do.

    `digests` (n,), each of a picture's bytes, are what the chance in its set comes from: it always has the same set.
    """
    found = seen.scores
    probabilities, whole, inside = probabilities_of(bundle, found, wanted)
    promised = bundle.calibration.depth(wanted.error)
    found_taxa: Sequence[Taxon | None] = [None] * len(found)
    if promised is not None:
        found_taxa = taxa(bundle.tree, bundle.taxonomy, probabilities.argmax(1), probabilities, promised[1])
    sets: list[np.ndarray] | list[None] = [None] * len(found)
    if wanted.coverage is not None:
        sets = bundle.calibration.set_rule(wanted.coverage).choose(found.double().numpy(), digests)
    said = [_answer(bundle, *one, inside, wanted) for one in zip(probabilities, whole, sets, found_taxa, strict=True)]
    unknown = unknown_among(bundle, seen, wanted.known_sent_away) if unknown is None else unknown
    return [one if strange is None else _told(one, *strange) for one, strange in zip(said, unknown, strict=True)]


def _told(said: Answer, unknown: bool, share: float) -> Answer:
    """An answer that says whether it may be none of the classes, in words too."""
    if not unknown or said.taxon is None:
        return replace(said, unknown=unknown)
    why = f"perhaps none of the known: stranger than {percent(1 - share, 0)} of known pictures; {said.taxon.why}"
    return replace(said, unknown=True, taxon=replace(said.taxon, why=why))


def probabilities_of(bundle: Bundle, found: torch.Tensor, wanted: Wanted) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The probabilities (n, k) by scores: of the classes that can be the answer, of all, and (k,) which can be."""
    exact = found.double() / bundle.calibration.temperature
    whole = exact.softmax(1).numpy()
    if not wanted.only:
        return whole, whole, np.ones(len(bundle.classes), dtype=bool)
    inside = among(wanted.only, bundle.called, len(bundle.classes), "only")
    return exact.masked_fill(torch.from_numpy(~inside), -inf).softmax(1).numpy(), whole, inside


def _answer(
    bundle: Bundle, probabilities: np.ndarray, whole: np.ndarray, codes: np.ndarray | None, taxon: Taxon | None,
    inside: np.ndarray, wanted: Wanted,
) -> Answer:  # fmt: skip
    """What is said of a picture by its probabilities among those `inside` (k,) a list, and by its `whole` ones."""
    likeliest = np.argsort(-probabilities, kind="stable")[: min(wanted.top_k, int(inside.sum()))]
    top = tuple((bundle.classes[code], float(probabilities[code])) for code in likeliest)
    off = whole[inside].sum() < _MOSTLY
    return Answer(
        top_k=top,
        taxonomy={} if bundle.taxonomy is None else bundle.taxonomy.loc[top[0][0]].dropna().to_dict(),
        prediction_set=None if codes is None else _set(bundle, codes[inside[codes]], likeliest[:1]),
        answered=top[0][1] >= wanted.min_probability if wanted.min_probability else None,
        taxon=taxon,
        elsewhere=(bundle.classes[whole.argmax()], float(whole.max())) if off else None,
    )


def _set(bundle: Bundle, codes: np.ndarray, likeliest: np.ndarray) -> tuple[str, ...]:
    """A set, which holds the label at least: of those on a list perhaps none was in it."""
    return tuple(bundle.classes[code] for code in (codes if len(codes) else likeliest))


def with_reasons(bundle: Bundle, said: Sequence[Answer], inputs: Mapping[Wants, Inputs]) -> list[Answer]:
    """Answers with reasons for their labels. BadInput where a network has none to give."""
    codes = torch.tensor([bundle.classes.index(one.label) for one in said], device=bundle.device)
    given = reasons(bundle.members, inputs, codes, bundle.classes)
    return [replace(one, reasons=why) for one, why in zip(said, given, strict=True)]


def reasons_of(bundle: Bundle, picture: bytes, label: str, facts: pd.DataFrame | None = None) -> Reasons:
    """The reasons for a label in one picture; `facts`, as of `scores_of`, are its row."""
    ((inputs, _),) = _scored(bundle, [picture], inf, facts)
    code = torch.tensor([bundle.classes.index(label)], device=bundle.device)
    (found,) = reasons(bundle.members, inputs, code, bundle.classes)
    return found


def digest(picture: bytes) -> str:
    """What a picture's set is told apart by."""
    return sha256(picture).hexdigest()


def answer(
    bundle: Bundle, pictures: Sequence[bytes], wanted: Wanted | None = None, until: float = inf,
    facts: pd.DataFrame | None = None,
) -> list[Answer]:  # fmt: skip
    """The answers to pictures' bytes; see `seen_in` for the rest."""
    wanted, said = wanted or Wanted(), list[Answer]()
    for inputs, found in _scored(bundle, pictures, until, facts):
        some = pictures[len(said) : len(said) + len(found.scores)]
        here = answers(bundle, found, [digest(picture) for picture in some], wanted)
        said += with_reasons(bundle, here, inputs) if wanted.explain else here
    return said


def answer_as_one(
    bundle: Bundle, pictures: Sequence[bytes], wanted: Wanted, until: float = inf, facts: pd.DataFrame | None = None
) -> Answer:
    """The one answer to several pictures of one animal. BadInput where reasons are wanted, which are of a picture."""
    if wanted.explain:
        raise BadInput("explain: of several pictures together there is no one to show; leave out together or explain")
    seen = seen_in(bundle, pictures, until, facts)
    return answer_group(bundle, seen, "".join(map(digest, pictures)), wanted)


def answer_group(bundle: Bundle, seen: Seen, of_all: str, wanted: Wanted) -> Answer:
    """The answer to one animal by what is said of its pictures; `of_all` is the digest of these.

    Whether it is unknown was promised for single pictures, so that it goes by the mean of these.
    """
    calibrated, one = calibrated_as_one(bundle, seen)
    unknown = unknown_among(bundle, as_one(bundle, seen), wanted.known_sent_away)
    (said,) = answers(calibrated, one, [of_all], wanted, unknown)
    return said


def seen_in(bundle: Bundle, pictures: Sequence[bytes], until: float = inf, facts: pd.DataFrame | None = None) -> Seen:
    """What is said of pictures' bytes, some at a time; none is begun after the time `until` (of `time.monotonic`).

    `facts`: a row a picture of what is known beside it, of which `Bundle.columns` are read, and `path`, by which errors
    name it, where there is one. Raises UnreadablePicture that names the first that cannot be read, or its place, and
    BadInput where time ran out or a fact cannot be.
    """
    found = [some for _, some in _scored(bundle, pictures, until, facts)]
    return all_of([Seen(torch.zeros(0, len(bundle.classes))), *found])


def _scored(
    bundle: Bundle, pictures: Sequence[bytes], until: float, facts: pd.DataFrame | None
) -> Iterator[tuple[Mapping[Wants, Inputs], Seen]]:
    """Some pictures at a time, as the networks are given them, and what these say."""
    rows = pd.DataFrame(index=range(len(pictures))) if facts is None else facts
    rows = with_exif(rows, bundle.columns, lambda: pictures)
    shown = as_shown(bundle, pictures, facts)
    check_set(rows, bundle.attributes)
    beside = {want: want.known(rows) for want in dict.fromkeys(one.spec.wants for one in bundle.members)}
    for start in range(0, len(pictures), BATCH):
        if monotonic() > until:
            raise BadInput(f"time ran out after {start:,} of {len(pictures):,} pictures: send fewer in a request")
        some = pictures[start : start + BATCH]
        seen = shown[start : start + BATCH]
        read = {how: _read(how, seen, rows, start) for how in dict.fromkeys(want.reading for want in beside)}
        here = np.arange(start, start + len(some))
        inputs = {want: read[want.reading].also(what.take(here)) for want, what in beside.items()}
        yield inputs, seen_of(bundle, said_of(bundle.members, bundle.rule, inputs))


def as_shown(bundle: Bundle, pictures: Sequence[bytes], facts: pd.DataFrame | None) -> Sequence[Source]:
    """The pictures with the boxes in them that `facts` know, for a model that looks at boxes. BadInput for odd ones."""
    if facts is None or not bundle.looks_at_boxes or not set(facts).intersection(COLUMNS):
        return pictures
    boxes = facts.reset_index(drop=True).reindex(columns=list(COLUMNS))
    return boxed(pictures, boxes_of(boxes, "shares", lambda _: [], unit_key=""))


def _read(how: Reading, pictures: Sequence[Source], rows: pd.DataFrame, first: int) -> Inputs:
    read = []
    for place, picture in enumerate(pictures, start=first):
        try:
            read.append(how.read(picture))
        except UnreadablePicture as error:
            raise UnreadablePicture(f"{whose(rows, place)}:", error.reason, error.lasting) from None
    return Inputs(torch.stack(read))
