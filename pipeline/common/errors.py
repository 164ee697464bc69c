"""What goes wrong through no fault of the program: said in one line, with the remedy."""

from collections.abc import Iterable
from difflib import get_close_matches

_MOST = 50  # choices named; timm alone has over a thousand


class BadInput(ValueError):
    """Input that the user can put right; its text names the thing and the remedy, in one line.

    Commands print it without a traceback and exit with code 2.
    """


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`"; did you mean X?"`, or the choices when nothing is near (`""` when there are none)."""
    known = sorted(set(choices))
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]}?"
    if len(known) > _MOST:
        return f"; it can be one of {', '.join(known[:_MOST])}, ... ({len(known):,} in all)"
    return f"; it can be one of {', '.join(known)}" if known else ""


class Stopped(RuntimeError):
    """Work that had begun had to end (a loss that is no number, say); its text says why, in one line."""


class Pruned(Stopped):
    """A training that a search ended as it fell behind others; its text says when."""
