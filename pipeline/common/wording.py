"""Numbers as people read them, in few digits: counts, shares, rates, costs, times, probabilities; names in a row."""

from collections.abc import Sequence
from math import isnan


def counted(number: int, name: str) -> str:
    """`1 picture`, `1,399 pictures`, `2 classes`: a number with what it counts."""
    plural = f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"
    return f"{number:,} {name if number == 1 else plural}"


def first_few(names: Sequence[str], most: int = 10) -> str:
    """The first of some names, and how many more there are."""
    left = len(names) - most
    return f"{', '.join(names[:most])}{f' and {left:,} more' if left > 0 else ''}"


def percent(share: float | None, digits: int = 1) -> str:
    """`0.867` as `86.7 %`; nothing for no figure."""
    return "" if share is None or isnan(share) else f"{100 * share:.{digits}f} %"


def signed(share: float) -> str:
    """A difference of shares in points, with its sign."""
    if isnan(share):
        return ""
    points = round(100 * share, 1) + 0.0  # no minus before a nought
    return f"{points:+.1f}".replace("-", "−")


def number(value: float | None) -> str:
    """A cost in few digits: `0.4`, `12`, `4,200`, `2.4 M`."""
    if value is None or isnan(value):
        return ""
    if value >= 1e6:
        return f"{value / 1e6:,.1f} M"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def duration(minutes: float | None) -> str:
    """A time in its own unit: `34 s`, `4.2 min`, `3.1 h`."""
    if minutes is None or isnan(minutes):
        return ""
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.1f} min" if minutes < 100 else f"{minutes / 60:,.1f} h"


def p_value(p: float | None) -> str:
    """A probability as papers print it."""
    if p is None or isnan(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def rate(a_second: float) -> str:
    """So many a second: a decimal where that tells."""
    return f"{a_second:,.0f}" if a_second >= 100 else f"{a_second:.1f}"


def size(amount: float) -> str:
    """Bytes in their own unit: `34 MB`, `1.9 GB`."""
    return f"{amount / 1e9:,.1f} GB" if amount >= 1e9 else f"{amount / 1e6:,.0f} MB"
