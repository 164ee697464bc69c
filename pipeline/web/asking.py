"""Pictures that somebody sent, answered: what the page and REST share."""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from pipeline.common.errors import BadInput
from pipeline.data.beside.set_by_hand import COLUMN as SET_BY_HAND
from pipeline.serving.answers import Answer, Wanted
from pipeline.serving.asking import as_shown
from pipeline.serving.limits import Limits
from pipeline.serving.only import listed, of_regions
from pipeline.web.models import Ready
from pipeline.web.refusal import Refused
from pipeline.web.site import Site
from pipeline.web.together import Part

_SETS = 0.9  # how often a set of labels on the page holds the right one, where the model can promise that


@dataclass(frozen=True)
class Sent:
    """A picture's bytes and the name that it came with."""

    name: str
    data: bytes

    @classmethod
    async def of(cls, files: Sequence[UploadFile]) -> "list[Sent]":
        """Those of a form; an empty field, as browsers send it where nothing was chosen, is none."""
        read = [cls(file.filename or "", await file.read()) for file in files]
        return [one for one in read if one.name or one.data]


async def ask(
    site: Site, ready: Ready, sent: Sequence[Sent], wanted: Wanted, facts: Sequence[Mapping[str, Any]],
    *, together: bool = False,
) -> tuple[list[Answer], list[Part]]:  # fmt: skip
    """An answer a picture, or one of all, and of each what they say together by.

    `facts`: what is known beside each, of which the model's columns are read, and attributes that were set by hand.

    BadInput, with the picture's name, for one that cannot be read, or of which a fact cannot be.
    """
    rows = pd.DataFrame({name: [one.get(name) for one in facts] for name in (*ready.bundle.columns, SET_BY_HAND)})
    rows = rows.dropna(axis=1, how="all").assign(path=[one.name for one in sent])
    await run_in_threadpool(_check_pixels, site, ready, sent, rows)
    pictures = [one.data for one in sent]
    said, seen = await site.answering.answers(ready.bundle, pictures, wanted, rows, together=together)
    each = [seen] if together else [seen.at(place) for place in range(len(said))]
    return said, [Part.of(ready.bundle, *one, wanted) for one in zip(each, said, strict=True)]


def _check_pixels(site: Site, ready: Ready, sent: Sequence[Sent], rows: pd.DataFrame) -> None:
    """Raise Refused for a picture that takes too much memory to decode, which is not done for it."""
    most = Limits(megapixels=site.settings.limits.megapixels, keys=("limits.pictures", "limits.megapixels"))
    ways = {member.spec.preprocessing for member in ready.bundle.members}
    for one, picture in zip(sent, as_shown(ready.bundle, [one.data for one in sent], rows), strict=True):
        try:
            most.check_pixels([picture], ways)
        except BadInput as error:
            raise Refused(413, f"{one.name}: {str(error).partition(': ')[2]}") from None


def page_wants(ready: Ready, sure: float, only: tuple[str, ...] = ()) -> Wanted:
    """What the page asks of each picture."""
    kept = ready.bundle.calibration.thresholds
    sets = _SETS if kept and kept[-1][0] >= 100 * _SETS else None
    return Wanted(top_k=5, coverage=sets, min_probability=sure, only=only)


def names_in(text: str, known: Container[str]) -> list[str]:
    """Names that somebody typed, one a line, or with commas or semicolons between, which a `known` one may itself have.

    As scientific names with their authors do.
    """
    lines = [line.strip() for line in text.splitlines()]
    parts = [[line] if line.casefold() in known else re.split("[,;]", line) for line in lines]
    return [name.strip() for some in parts for name in some if name.strip()]


async def listed_in(ready: Ready, table: Sent, region: str) -> list[str]:
    """The names of a list that somebody sent, or those that its table has for a region; BadInput as `answers.only`."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / ("list.tsv" if table.name.lower().endswith(".tsv") else "list.csv")
        file.write_bytes(table.data)
        try:
            if region:
                found = await run_in_threadpool(of_regions, str(file), [region], ready.bundle.called)
                return found[region]
            return (await run_in_threadpool(listed, str(file), ready.bundle.called, "only"))[0]
        except BadInput as error:
            raise BadInput(str(error).replace(str(file), table.name)) from None
