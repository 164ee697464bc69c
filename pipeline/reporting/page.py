"""The shell of a page: headings, figures, tables and charts in one file that needs nothing beside it."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from pipeline.reporting.tables import Table, written

_environment = Environment(
    loader=PackageLoader("pipeline.reporting"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


@dataclass
class Section:
    """A part of a page: parts of HTML under a heading. Text that is no `Markup` is escaped."""

    title: str
    lead: str = ""
    parts: list[Markup] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """What links to it."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())

    def add(self, *parts: Markup) -> "Section":
        """Append, and give itself back."""
        self.parts += parts
        return self


@dataclass(frozen=True)
class Figure:
    """A number worth seeing first: `tone` is `good`, `bad` or nothing."""

    value: str
    name: str
    tone: str = ""


def page(title: str, subtitle: str, figures: list[Figure], sections: list[Section]) -> str:
    """The whole page as text."""
    return render("page.html.j2", title=title, subtitle=subtitle, figures=figures, sections=sections)


def render(template: str, **values: object) -> str:
    """A page with a template of its own: it extends `page.html.j2` and fills its blocks `style` and `body`."""
    html = _environment.get_template(template).render(**values)
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", html)  # a figure and its sign stay on one line


def note(text: str, tone: str = "") -> Markup:
    """A paragraph; `tone` as of a `Figure`."""
    return Markup('<p class="note {}">{}</p>').format(tone, text)


def command(text: str) -> Markup:
    """What can be copied into a terminal."""
    return Markup('<pre class="command">{}</pre>').format(text)


def table(rows: pd.DataFrame, *, most: int = 200) -> Markup:
    """Rows as a table; what is beyond `most` is said to be left out."""
    if rows.empty:
        return Markup("")
    left = len(rows) - most
    more = Markup('\n<p class="note">and {} more</p>').format(written(left)) if left > 0 else ""
    return Table.of(rows.head(most)).html() + more


def details(summary: str, *parts: Markup) -> Markup:
    """Parts that unfold."""
    inside = Markup("").join(parts)
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, inside)


def pictures(
    jpegs: Sequence[bytes | None], captions: Sequence[str], paths: Sequence[str] | None = None, *, large: bool = False,
    beside: Sequence[bytes | None] = (),
) -> Markup:  # fmt: skip
    """Thumbnails side by side, each with its words and, smaller, its path; None where there is nothing to show.

    `beside`: of each another picture, which stands beside it in its card.
    """
    cards = []
    others = beside or [None] * len(captions)
    for jpeg, words, path, other in zip(jpegs, captions, paths or [""] * len(captions), others, strict=True):
        shown = Markup('<div class="gone">gone, changed or unreadable now</div>')
        if jpeg is not None:
            alt = words.striptags() if isinstance(words, Markup) else words
            shown = Markup('<img alt="{}" src="{}">').format(alt, source(jpeg))
        if other is not None:
            look = Markup('<img alt="where the network looked" src="{}">').format(source(other))
            shown = Markup('<div class="twin">{}{}</div>').format(shown, look)
        small = Markup("<small>{}</small>").format(path) if path else Markup("")
        cards.append(Markup("<figure>{}<figcaption>{}{}</figcaption></figure>").format(shown, words, small))
    kind = "pictures twins" if any(beside) else "pictures large" if large else "pictures"
    return Markup('<div class="{}">{}</div>').format(kind, Markup("").join(cards))


def source(picture: bytes) -> str:
    """The address of a picture, a JPEG or PNG, that lies in the page itself."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def side_by_side(*parts: Markup) -> Markup:
    """Parts in columns where there is room."""
    return Markup('<div class="columns">{}</div>').format(
        Markup("").join(Markup("<div>{}</div>").format(part) for part in parts)
    )


def save(html: str, file: Path) -> Path:
    """Write a page."""
    file.write_text(html, encoding="utf-8")
    return file
