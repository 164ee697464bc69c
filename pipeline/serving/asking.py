"""Asking a served model's networks about pictures' bytes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from time import monotonic

import numpy as np
import pandas as pd
import torch

from pipeline.common.errors import BadInput
from pipeline.data.batch import Inputs
from pipeline.data.beside.exif import with_exif
from pipeline.data.beside.set_by_hand import check_set
from pipeline.data.boxes.columns import boxes_of
from pipeline.data.boxes.crop import COLUMNS, boxed
from pipeline.data.cells import whose
from pipeline.data.reading.decoding import UnreadablePicture
from pipeline.data.reading.preprocessing import Reading, Source
from pipeline.ensembles.scoring import Said, said_of
from pipeline.models.classifier import Wants
from pipeline.serving.answers import Answer, Wanted, answer_group, answers, digest
from pipeline.serving.bundle import Bundle
from pipeline.serving.reasons import Reasons, reasons
from pipeline.serving.seen import Seen, all_of, seen_of

BATCH = 8  # pictures: larger ones gain nothing on a processor and cost memory


def as_seen(bundle: Bundle, said: Said) -> Seen:
    """What networks said, as answers are made of it."""
    features, scores = said.arrays()
    return seen_of(bundle, scores, features)


def with_reasons(bundle: Bundle, said: Sequence[Answer], inputs: Mapping[Wants, Inputs]) -> list[Answer]:
    """Answers with reasons for their labels. BadInput where a network has none to give."""
    codes = torch.tensor([bundle.classes.index(one.label) for one in said], device=bundle.device)
    with bundle.turn:
        given = reasons(bundle.members, inputs, codes, bundle.classes)
    return [replace(one, reasons=why) for one, why in zip(said, given, strict=True)]


def reasons_of(bundle: Bundle, picture: bytes, label: str, facts: pd.DataFrame | None = None) -> Reasons:
    """The reasons for a label in one picture; `facts`, as of `scores_of`, are its row."""
    ((inputs, _),) = _scored(bundle, [picture], inf, facts)
    code = torch.tensor([bundle.classes.index(label)], device=bundle.device)
    with bundle.turn:
        (found,) = reasons(bundle.members, inputs, code, bundle.classes)
    return found


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


def seen_in(bundle: Bundle, pictures: Sequence[bytes], until: float = inf, facts: pd.DataFrame | None = None) -> Seen:
    """What is said of pictures' bytes, some at a time; none is begun after the time `until` (of `time.monotonic`).

    `facts`: a row a picture of what is known beside it, of which `Bundle.columns` are read, and `path`, by which errors
    name it, where there is one. Raises UnreadablePicture that names the first that cannot be read, or its place, and
    BadInput where time ran out or a fact cannot be.
    """
    found = [some for _, some in _scored(bundle, pictures, until, facts)]
    return all_of([Seen(np.zeros((0, len(bundle.classes)), np.float32)), *found])


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
        inputs = {want: read[want.reading].also(what.take(here)).to(bundle.device) for want, what in beside.items()}
        with bundle.turn:
            said = said_of(bundle.members, bundle.rule, inputs)
        yield inputs, as_seen(bundle, said)


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
