"""The terminal that messages and tables are printed to."""

import os

from rich.console import Console

UNWATCHED = 160  # columns, where the output is no terminal and nobody said how wide it is


def console() -> Console:
    """The terminal, or what stands in its place."""
    watched = Console().is_terminal or "COLUMNS" in os.environ
    return Console(width=None if watched else UNWATCHED, highlight=False, markup=False)
