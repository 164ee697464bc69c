"""A page, or a part of one, as an answer: templates in the visitor's language."""

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from pipeline.common.wording import percent
from pipeline.web.refusal import kind_of, told
from pipeline.web.words import LANGUAGES, Words, known, language_of, words_in

STATIC = Path(__file__).parent / "static"
_SPANISH = str.maketrans(",.", ".,")
# What the navigation has, by the name of its words and of `here`.
PAGES = {"identify": "/", "model": "/model", "data": "/data", "train": "/train"}


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("pipeline.web"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip


def language(request: Request) -> str:
    """What a visitor chose by `?lang=`, now or before, else the browser's."""
    asked = request.query_params.get("lang")
    if asked in LANGUAGES:
        request.session["lang"] = asked
    kept = request.session.get("lang")
    return kept if kept in LANGUAGES else language_of(request.headers.get("accept-language", ""))


def words(request: Request) -> Words:
    """The texts in a visitor's language."""
    return words_in(language(request))


def visitor(request: Request) -> str:
    """Who asks: a name that only this server can make, in the signed cookie."""
    if "id" not in request.session:
        request.session["id"] = secrets.token_urlsafe(16)
    return str(request.session["id"])


def page(request: Request, template: str, *, here: str = "", status: int = 200, **values: Any) -> HTMLResponse:
    """A whole page: its template extends `base.html.j2`; `here` is its name in `PAGES`."""
    visitor(request)
    html = part(request, template, here=here, **values)
    return HTMLResponse(html, status)


def part(request: Request, template: str, **values: Any) -> Markup:
    """A template as text, with `t` for the words, and for figures `percent(share, digits)`, `number(value, digits)` and
    `day(milliseconds)`; a figure and its sign stay on one line.
    """
    lang = language(request)
    html = _environment().get_template(template).render(
        t=words_in(lang), lang=lang, languages=LANGUAGES, pages=PAGES, again=partial(_again, request),
        inside=bool(request.session.get("in")), **_figures(lang), **values,
    )  # fmt: skip
    return Markup(re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", html))


def _again(request: Request, lang: str) -> str:
    """The address of the same page in a language, with all that it says; of what was sent, the form."""
    if request.method == "GET":
        url = request.url.include_query_params(lang=lang)
        return f"{url.path}?{url.query}"
    return f"{request.url.path if request.url.path in PAGES.values() else '/'}?lang={lang}"


def heading(t: Words, kind: str) -> str:
    """What kind of error it is (of `refusal.kind_of`), in a visitor's language."""
    key = f"common.problem.{kind}"
    return t(key) if key in known() else t("common.problem")


def explained(request: Request, error: Exception, text: str = "") -> Markup:
    """An error of this program (or all that `text` tells of several), which is in English: on other pages after what
    kind it is.
    """
    said = Markup('<span lang="en">{}</span>').format(text or told(error))
    if language(request) == "en":
        return said
    return Markup("{}: {}").format(heading(words(request), kind_of(error)), said)


def in_figures_of(lang: str, figure: str) -> str:
    """A figure as a language points it."""
    return figure.translate(_SPANISH) if lang == "es" else figure


def _figures(lang: str) -> dict[str, Callable[..., str]]:
    """How figures are written in a language."""
    return {
        "percent": lambda share, digits=1: in_figures_of(lang, percent(share, digits)),
        "number": lambda value, digits=0: in_figures_of(lang, f"{value:,.{digits}f}"),
        "day": lambda made: f"{datetime.fromtimestamp(made / 1000, UTC):%Y-%m-%d}",
    }
