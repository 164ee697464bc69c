"""Tables for people: heads and rows of text, written to a terminal, as Markdown or as HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from rich import box
from rich import table as rich_table
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text


@dataclass(frozen=True)
class Table:
    """Rows of cells under their heads; a terminal shows none where all are empty.

    Columns with a head among `figures` stand to the right and are never folded. In a terminal, those of `whole` are
    not folded either, and a row has the style that `styles` gives its number.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Collection[str] = ()
    whole: Collection[str] = ()
    title: str = ""
    styles: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Table:
        """A frame's columns as people read them, numbers to the right."""
        rows = [[written(cell) for cell in row] for row in frame.itertuples(index=False)]
        figures = {str(name) for name in frame if pd.api.types.is_numeric_dtype(frame[name])}
        return cls([str(name) for name in frame], rows, figures)

    def show(self, screen: Console, *, spare: Sequence[str] = (), lines: box.Box = box.HEAVY_HEAD) -> list[str]:
        """Print it; where the terminal is narrow, names are folded and nothing is cut. Gives the heads left out.

        `spare` are heads that may be left out for room, that which matters least first.
        """
        left_out = list(self._for_room(spare, screen.width))
        places = [place for place, head in enumerate(self.heads) if head not in left_out]
        made = rich_table.Table(title=self.title or None, box=lines, show_header=any(self.heads))
        for place in places:
            head = self.heads[place]
            figure = head in self.figures
            made.add_column(
                head, justify="right" if figure else "left", no_wrap=figure or head in self.whole, overflow="fold"
            )
        for number, row in enumerate(self.rows):
            made.add_row(*(Text(row[place]) for place in places), style=self.styles.get(number))
        screen.print(made)
        return left_out

    def _for_room(self, spare: Sequence[str], width: int) -> Iterator[str]:
        """The heads of `spare` that must go so that nothing need be folded, or all of them."""
        widths = [max(map(cell_len, column)) for column in zip(self.heads, *self.rows, strict=True)]
        over = sum(widths) + 3 * len(widths) + 1 - width
        for head in spare:
            if over <= 0:
                return
            if head in self.heads:
                over -= sum(one + 3 for one, other in zip(widths, self.heads, strict=True) if other == head)
                yield head

    def markdown(self) -> str:
        """As MLflow shows it in a run's description."""
        lines = [self.heads, ["---"] * len(self.heads), *self.rows]
        lines = [[re.sub(r"(?<!\\)[|]", r"\\|", cell) for cell in line] for line in lines]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def latex(self, caption: str, label: str) -> str:
        """As a table of a paper, by the packages booktabs and graphicx; one that is too wide is made smaller."""
        columns = "".join("r" if head in self.figures else "l" for head in self.heads)
        # A rule or a line's end before it would take a bracket or a star for its own.
        head, *body = ["{}" + " & ".join(map(in_latex, line)) + r" \\" for line in [self.heads, *self.rows]]
        return "\n".join([
            r"\begin{table}", r"\centering", rf"\caption{{{in_latex(caption)}}}", rf"\label{{{label}}}",
            rf"\sbox0{{\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule",
            r"\end{tabular}}%", r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi",
            r"\end{table}", "",
        ])  # fmt: skip

    def html(self) -> Markup:
        """As a part of a page."""
        head = self._line("th", self.heads)
        body = Markup("\n").join(self._line("td", row) for row in self.rows)
        return Markup(
            '<div class="scroll" tabindex="0"><table>\n<thead>{}</thead>\n<tbody>\n{}\n</tbody></table></div>'
        ).format(head, body)

    def _line(self, tag: str, cells: Sequence[str]) -> Markup:
        kinds = [Markup(' class="n"') if head in self.figures else "" for head in self.heads]
        start = Markup('th scope="col"') if tag == "th" else tag
        made = Markup("<{0}{1}>{2}</{3}>")
        return Markup("<tr>{}</tr>").format(
            Markup("").join(made.format(start, kind, cell, tag) for kind, cell in zip(kinds, cells, strict=True))
        )


def in_latex(text: str) -> str:
    """Text that LaTeX sets as it stands."""
    return re.sub(r'[\\{}$&#_%~^<>|"−]|\s+|-(?=-)', lambda found: _IN_LATEX.get(found[0]) or _escaped(found[0]), text)


def _escaped(character: str) -> str:
    return " " if character.isspace() else f"\\{character}"


_IN_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"{\char34}", "-": "-{}", "−": "$-$",
}  # fmt: skip


def written(value: Any) -> str:
    """A cell's text: thousands apart, three significant digits of what is no whole number."""
    if isinstance(value, float | np.floating):
        number = float(value)
        if math.isnan(number):
            return ""
        return f"{number:,.0f}" if abs(number) >= 1000 or number.is_integer() else f"{number:.3g}"
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None or value is pd.NA else str(value)
