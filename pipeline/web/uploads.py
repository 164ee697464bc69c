"""What visitors sent and were told: each visitor's own, and gone when they have been idle, or the server ends.

Pictures lie in a folder of the server's own under names made by chance; the names that they came with are only shown.
"""

import json
import secrets
import shutil
import unicodedata
from collections import OrderedDict
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any

from PIL import Image

from pipeline.config import schema
from pipeline.data.beside.set_by_hand import COLUMN as SET_BY_HAND
from pipeline.data.reading.decoding import decode
from pipeline.serving.answers import Answer
from pipeline.web.models import Ready
from pipeline.web.refusal import Refused
from pipeline.web.together import Part

_SHORTER, _LONGER = 320, 480  # pixels a side of what is shown
_LONGEST = 150  # letters of a name
_NEVER_BACK = 120  # seconds; a browser shows an answer, and its picture, at once


@dataclass(frozen=True)
class Picture:
    """`token` is its name here, `name` the visitor's."""

    token: str
    name: str
    file: Path

    @property
    def small(self) -> Path:
        """A JPEG to show."""
        return self.file.with_suffix(".jpg")


@dataclass
class Asked:
    """Pictures of one specimen, what is known beside them, and what was answered, by which model.

    `sure`: from how likely on it counts as an answer; `only`: the names of what can be one. `corrected` is what it
    shows where that is another label; `checked` whether somebody looked. `before`: the answer without the attributes
    that were set by hand.
    """

    token: str
    pictures: list[Picture]
    facts: dict[str, str]
    ready: Ready
    answer: Answer
    sure: float
    only: tuple[str, ...]
    part: Part
    corrected: str = ""
    checked: bool = False
    before: Answer | None = None

    @property
    def by_hand(self) -> dict[str, str]:
        """Attributes that were set by hand."""
        return dict(json.loads(self.facts.get(SET_BY_HAND, "{}")))

    @property
    def name(self) -> str:
        """Of its first picture."""
        return self.pictures[0].name

    @property
    def shows(self) -> str:
        """The label of what it shows, as far as anybody knows."""
        return self.corrected or self.answer.label

    @property
    def counted(self) -> Part:
        """What is counted of it: what somebody says that it is, where somebody does."""
        if not self.corrected and not self.checked:
            return self.part
        classes = self.ready.bundle.classes
        return self.part.shows(classes.index(self.shows) if self.shows in classes else None, len(classes))

    def to_row(self) -> dict[str, Any]:
        """As a line of a CSV says it, with the columns that `predict` writes."""
        row = {"picture": "; ".join(picture.name for picture in self.pictures)} | self.answer.to_row()
        row |= {"corrected": self.corrected or None, "checked": "yes" if self.checked else None}
        return row | self.facts | {"model": self.ready.name}

    def as_put_right(self) -> dict[str, Any]:
        """The same of what it shows, where that was put right: `was` is then what the model said."""
        row, known = self.to_row(), self.ready.bundle.taxonomy
        if not self.corrected:
            return row
        for rank in self.answer.taxonomy:
            del row[rank]
        if known is not None and self.corrected in known.index:
            row |= known.loc[self.corrected].dropna().to_dict()
        return row | {"label": self.corrected, "was": self.answer.label}


@dataclass
class Visit:
    """What one visitor sent: `asked` by token, the first first; `forgotten` where it was deleted as a whole.

    `returned`: the visitor asked for something since, and so is no program that keeps no cookie and never can.
    """

    folder: Path
    asked: OrderedDict[str, Asked] = field(default_factory=OrderedDict)
    at: float = field(default_factory=monotonic)
    forgotten: bool = False
    returned: bool = False

    def all(self) -> list[Asked]:
        """The newest first."""
        return list(self.asked.values())[::-1]

    def add(
        self, pictures: list[Picture], facts: dict[str, str], ready: Ready, answer: Answer, sure: float,
        only: tuple[str, ...], part: Part,
    ) -> Asked:  # fmt: skip
        """What was answered of pictures that were kept."""
        one = Asked(secrets.token_urlsafe(16), pictures, facts, ready, answer, sure, only, part)
        self.asked[one.token] = one
        return one

    def by_newest(self) -> list[Asked]:
        """Of all those that the model of the newest answered, as several models' have nothing in common."""
        return [one for one in self.all() if one.ready.key == self.all()[0].ready.key]

    def of(self, token: str) -> Asked:
        """Refused for what is not this visitor's."""
        if token not in self.asked:
            raise Refused(404, "that is not among your pictures (any more)")
        return self.asked[token]

    def picture(self, token: str) -> Picture:
        """Refused for what is not this visitor's."""
        for one in self.all():
            for picture in one.pictures:
                if picture.token == token:
                    return picture
        raise Refused(404, "that is not among your pictures (any more)")

    def pictures(self) -> int:
        """How many there are."""
        return sum(len(one.pictures) for one in self.asked.values())

    def keep(self, data: bytes, name: str) -> Picture:
        """Write a picture, and one to show. Raises UnreadablePicture."""
        token = secrets.token_urlsafe(16)
        picture = Picture(token, shown_name(name), self.folder / f"{token}.picture")
        small = _small(data)
        if self.forgotten:
            raise Refused(410, "the pictures were deleted while they were looked at")
        try:
            self.folder.mkdir(exist_ok=True)
            picture.file.write_bytes(data)
            picture.small.write_bytes(small)
        except OSError as error:
            picture.file.unlink(missing_ok=True)
            picture.small.unlink(missing_ok=True)
            raise Refused(507, f"the server cannot keep the picture: {error.strerror}") from None
        return picture

    def drop(self, token: str) -> None:
        """Delete a specimen's pictures, and what was said of them."""
        for picture in self.asked.pop(token).pictures:
            picture.file.unlink(missing_ok=True)
            picture.small.unlink(missing_ok=True)


class Visits:
    """All visitors' (`by_visitor`), below one folder."""

    def __init__(self, folder: Path, limits: schema.PageLimits) -> None:
        self._folder, self._limits = folder, limits
        self._visits: dict[str, Visit] = {}

    def find(self, visitor: str) -> Visit:
        """A visitor's; where there is none yet, an empty one that is not kept."""
        found = self._visits.get(visitor)
        if found is None:
            return Visit(self._folder / secrets.token_urlsafe(16))
        found.at, found.returned = monotonic(), True
        return found

    def begin(self, visitor: str, more: int) -> Visit:
        """A visitor's, who is about to send so many pictures. Refused where there are too many, or visitors."""
        self.forget_idle()
        visit = self._visits.get(visitor) or Visit(self._folder / secrets.token_urlsafe(16))
        if visitor not in self._visits and len(self._visits) >= self._limits.visitors:
            raise Refused(503, "too many visitors have pictures here: come back in some minutes")
        if visit.pictures() + more > self._limits.pictures:
            raise Refused(413, f"at most {self._limits.pictures:,} pictures at a time: download and clear them first")
        self._visits[visitor], visit.at = visit, monotonic()
        return visit

    def forget(self, visitor: str) -> None:
        """Delete all that a visitor sent."""
        visit = self._visits.pop(visitor, None)
        if visit is not None:
            visit.forgotten = True
            shutil.rmtree(visit.folder, ignore_errors=True)

    def forget_idle(self) -> None:
        """Delete what is of visitors who asked for nothing in a while; soon, of those who never came back."""
        now, longest = monotonic(), 60 * self._limits.idle_minutes
        for visitor, visit in list(self._visits.items()):
            if now - visit.at > (longest if visit.returned else min(longest, _NEVER_BACK)):
                self.forget(visitor)


def shown_name(name: str) -> str:
    """A file's name without folders, and without letters that hide or turn others."""
    last = name.replace("\\", "/").rpartition("/")[2]
    plain = "".join(letter for letter in last if unicodedata.category(letter)[0] != "C").strip()
    return plain[:_LONGEST] or "picture"


def _small(data: bytes) -> bytes:
    """A picture as a small JPEG without its notes of place and time. Raises UnreadablePicture."""
    image = Image.fromarray(decode(data, _SHORTER))
    image.thumbnail((_LONGER, _LONGER))
    made = BytesIO()
    image.save(made, "JPEG", quality=82)
    return made.getvalue()
