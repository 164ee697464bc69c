"""Words and tables for a terminal.

Where it is narrow, columns that matter least are left out and names folded; nothing is cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

UNWATCHED = 160  # columns, where the output is no terminal and nobody said how wide it is


def counted(number: int, name: str) -> str:
    """`1 picture`, `1,399 pictures`, `2 classes`: a number with what it counts."""
    plural = f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"
    return f"{number:,} {name if number == 1 else plural}"


def console() -> Console:
    """The terminal, or what stands in its place."""
    import os

    from rich.console import Console

    found = Console()
    return found if found.is_terminal or "COLUMNS" in os.environ else Console(width=UNWATCHED)


def show_table(
    screen: Console, heads: Sequence[str], body: Sequence[Sequence[str]], *, names: int, spare: Sequence[str] = ()
) -> list[str]:
    """Print a table whose first `names` columns are names, the others figures; gives the heads left out for room.

    `spare` are heads that may be left out, that which matters least first.
    """
    from rich.markup import escape
    from rich.table import Table

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
    from rich.cells import cell_len

    widths = [max(cell_len(row[place]) for row in (heads, *body)) for place in range(len(heads))]
    over = sum(widths) + 3 * len(heads) + 1 - width
    for head in spare:
        if over <= 0:
            return
        if head in heads:
            over -= sum(widths[place] + 3 for place, other in enumerate(heads) if other == head)
            yield head
