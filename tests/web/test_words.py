import re
from pathlib import Path
from string import Formatter

import pytest

from pipeline.web.words import LANGUAGES, known, language_of, words_in

ROOM = Path(__file__).resolve().parents[2] / "pipeline" / "web"


def test_every_text_is_there_in_each_language_with_the_same_gaps():
    for key, texts in known().items():
        assert set(texts) == set(LANGUAGES), key
        gaps = [
            sorted(str(part[1]) for part in Formatter().parse(text) if part[1] is not None) for text in texts.values()
        ]
        assert all(one == gaps[0] for one in gaps), key
        assert all(text.strip() for text in texts.values()), key


def test_the_texts_that_are_asked_for_are_those_that_there_are():
    """A template may make the end of a key: `t("model.split_" ~ split)`."""
    subjects = "|".join({key.partition(".")[0] for key in known()})
    asked = set()
    for file in [*ROOM.rglob("*.j2"), *ROOM.rglob("*.py")]:
        asked |= set(
            re.findall(rf"""(?<!Field)(?<!get)\(["']((?:{subjects})\.[\w.]*)["']""", file.read_text(encoding="utf-8"))
        )
    begun = tuple(key for key in asked if key.endswith(("_", ".")))
    assert not [key for key in asked if key not in known() and not any(one.startswith(key) for one in known())]
    assert not [key for key in known() if key not in asked and not key.startswith(begun)]
    whole = [key for key in begun if key.endswith(".") and key.count(".") == 1]
    assert whole == ["common."]  # the pages' names


def test_what_is_filled_in_is_text():
    assert "<b>" not in words_in("en")("common.site")
    with pytest.raises(KeyError):
        words_in("en")("common.nothing")


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("es-MX,es;q=0.9,en;q=0.5", "es"), ("de,en;q=0.3,es;q=0.8", "es"), ("fr", "en"), ("", "en"), ("es;q=x", "en")],
)
def test_the_browsers_languages_choose(accepted, language):
    assert language_of(accepted) == language


def test_a_language_that_was_chosen_stays(open_page):
    page = open_page()
    assert '<html lang="en">' in page.get("/docs").text
    assert '<html lang="es">' in page.get("/docs?lang=es").text
    assert '<html lang="es">' in page.get("/docs").text
    assert '<html lang="es">' in page.get("/docs?lang=<script>").text


def test_another_language_says_the_same_of_the_same(open_page):
    page = open_page()
    assert 'href="/train?data=digits&amp;seed=3&amp;lang=es"' in page.get("/train?data=digits&seed=3&lang=en").text
    refused = page.post("/train", data={"data": "?"}, headers={"accept": "text/html"})
    assert 'href="/train?lang=es"' in refused.text
