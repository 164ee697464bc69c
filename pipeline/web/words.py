"""What is on screen, in the languages that the page speaks.

`words/SUBJECT.json` has `{"key": {"en": "...", "es": "..."}}`; a template says `{{ t("subject.key", n=3) }}`.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files

from markupsafe import Markup, escape

LANGUAGES = {"en": "English", "es": "Español"}
Words = Callable[..., str]


@cache
def known() -> Mapping[str, Mapping[str, str]]:
    """Every text by `subject.key`, then by language."""
    found: dict[str, dict[str, str]] = {}
    for file in files("pipeline.web").joinpath("words").iterdir():
        if file.name.endswith(".json"):
            subject = file.name.removesuffix(".json")
            entries = json.loads(file.read_text(encoding="utf-8"))
            found |= {f"{subject}.{key}": entry for key, entry in entries.items()}
    return found


def words_in(language: str) -> Words:
    """The texts of a language: `t("subject.key", name=...)`. What is filled in is escaped; KeyError for a key that is
    not there.
    """

    def told(key: str, **values: object) -> str:
        text = known()[key][language]
        return Markup(text).format(**{name: escape(value) for name, value in values.items()}) if values else text

    return told


def language_of(accepted: str) -> str:
    """The first of a browser's languages (its header Accept-Language) that the page speaks, else English."""
    wanted = []
    for part in accepted.split(","):
        name, _, quality = part.partition(";q=")
        try:
            wanted.append((-float(quality or 1), name.strip()[:2].lower()))
        except ValueError:
            continue
    return next((name for _, name in sorted(wanted, key=lambda one: one[0]) if name in LANGUAGES), "en")
