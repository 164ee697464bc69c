"""Words and tables for a terminal.

Where it is narrow, columns that matter least are left out and names folded; nothing is cut.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

UNWATCHED = 160  # columns, where the output is no terminal and nobody said how wide it is


def console() -> Console:
    """The terminal, or what stands in its place."""
    found = Console()
    return found if found.is_terminal or "COLUMNS" in os.environ else Console(width=UNWATCHED)


def show_table(
    screen: Console, heads: Sequence[str], body: Sequence[Sequence[str]], *, names: int, spare: Sequence[str] = ()
) -> list[str]:
    """Print a table whose first `names` columns are names, the others figures; gives the heads left out for room.

    `spare` are heads that may be left out, that which matters least first.
    """
    left_out = list(_for_room(heads, body, names, spare, screen.width))
    table = Table()
    shown = [place for place, head in enumerate(heads) if head not in left_out]
    for place in shown:
        figure = place >= names
        table.add_column(heads[place], justify="right" if figure else "left", no_wrap=figure, overflow="fold")
    for row in body:
        table.add_row(*(escape(row[place]) for place in shown))
    screen.print(table)
    return left_out


def _for_room(
    heads: Sequence[str], body: Sequence[Sequence[str]], names: int, spare: Sequence[str], width: int
) -> Iterator[str]:
    """The heads of `spare` that must go so that nothing need be folded, or all of them."""
    widths = [max(cell_len(row[place]) for row in (heads, *body)) for place in range(len(heads))]
    over = sum(widths) + 3 * len(heads) + 1 - width
    for head in spare:
        if over <= 0:
            return
        if head in heads:
            over -= sum(widths[place] + 3 for place, other in enumerate(heads) if other == head)
            yield head
