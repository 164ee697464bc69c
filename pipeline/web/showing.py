"""A typed answer as a page draws it: each of its fields by a template of its own, found by the field's name.

`templates/answer/PLACE/FIELD.html.j2` draws `Answer.FIELD`, which it is given as `value`. Places: `first`, beside the
name, for what decides whether to believe it; `main`, for all to see; `more`, unfolded by who wants to know. A field
without a template is shown in `more` as its name and value. What is None or empty is not drawn.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import pandas as pd

from pipeline.data.taxonomy import RANKS
from pipeline.serving.answers import Answer

PLACES = ("first", "main", "more")
# From how likely a label must be to be called so; below the least it is not sure.
SURE = (("almost_certain", 0.95), ("very_likely", 0.8), ("likely", 0.5))
NOT_SURE = "not_sure"
_LINKS = {
    "GBIF": "https://www.gbif.org/species/search?q={name}",
    "iNaturalist": "https://www.inaturalist.org/taxa/search?q={name}",
    "Wikipedia": "https://{lang}.wikipedia.org/wiki/Special:Search?search={name}",
}


@dataclass(frozen=True)
class Named:
    """A label as people know it: by `common` names by language ("" for that of no language), and `scientific`ally."""

    label: str
    common: Mapping[str, str]
    scientific: str

    @classmethod
    def of(cls, label: str, taxonomy: Mapping[str, Any]) -> "Named":
        """What a taxonomy's row says of a label; without one, the label alone."""
        common = {
            key.removeprefix("common_name").lstrip("_"): str(value)
            for key, value in taxonomy.items()
            if key.startswith("common_name") and value
        }
        return cls(label, common, str(next((taxonomy[rank] for rank in reversed(RANKS) if taxonomy.get(rank)), "")))

    def in_language(self, lang: str) -> str:
        """What to call it: its common name, else the scientific one, else the label."""
        return self.common.get(lang) or self.common.get("") or self.scientific or self.label

    def second(self, lang: str) -> str:
        """The scientific name, where that is not what it is called already."""
        return self.scientific if self.scientific != self.in_language(lang) else ""

    def links(self, lang: str) -> dict[str, str]:
        """Where to look it up; nothing is fetched from there."""
        plain = self.scientific or re.sub(r"^\d+[.\s_-]+", "", self.label).replace("_", " ")
        return {place: address.format(name=quote(plain), lang=lang) for place, address in _LINKS.items()}


def names(taxonomy: pd.DataFrame | None, labels: Iterable[str]) -> dict[str, Named]:
    """Those of some labels."""
    return {label: Named.of(label, ranks(taxonomy, label)) for label in labels}


def meant(text: str, taxonomy: pd.DataFrame | None, classes: Iterable[str]) -> str:
    """The class that somebody names by its label, its common name in any language or its species, in large or small
    letters; the text itself where that is none, or several.
    """
    plain = text.casefold()
    found = [label for label in classes if label.casefold() == plain]
    if not found and taxonomy is not None:
        called = [column for column in taxonomy if column == "species" or column.startswith("common_name")]
        same = taxonomy[called].astype("str").apply(lambda column: column.str.casefold() == plain)
        found = list(taxonomy.index[same.any(axis=1)])
    return text if text in found or len(found) != 1 else found[0]


def ranks(taxonomy: pd.DataFrame | None, label: str) -> dict[str, Any]:
    """What a taxonomy says of a label: ranks and common names; nothing where it does not know it."""
    return {} if taxonomy is None or label not in taxonomy.index else dict(taxonomy.loc[label].dropna())


def how_sure(answer: Answer) -> str:
    """The word for it: one of `SURE`, or `NOT_SURE`, also where less likely than was asked for, or unknown."""
    if answer.answered is False or answer.unknown:
        return NOT_SURE
    return next((word for word, least in SURE if answer.probability >= least), NOT_SURE)


def differs_by(shown_by: str) -> str:
    """The word for what pictures differ in, of `pipeline.evaluation.lapse`."""
    return {"how sure it is": "sure", "how far they are from known classes": "far"}.get(shown_by, "looks")


def drawn(answer: Answer, place: str) -> Iterator[tuple[str, str, Any]]:
    """The fields with something to draw in a place: name, template, value."""
    for field in fields(answer):
        value = getattr(answer, field.name)
        if value is None or (isinstance(value, Sized) and not len(value)):
            continue
        where, template = _template(field.name)
        if where == place:
            yield field.name, template, value


@cache
def _template(field: str) -> tuple[str, str]:
    room = files("pipeline.web") / "templates" / "answer"
    for place in PLACES:
        if (room / place / f"{field}.html.j2").is_file():
            return place, f"answer/{place}/{field}.html.j2"
    return "more", "answer/other.html.j2"
