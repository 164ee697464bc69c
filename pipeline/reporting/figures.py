"""matplotlib's figures inside a page, in the page's own colours; and figures of the other kind, in few digits."""

import hashlib
import io
import re
from math import isnan

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.evaluation.plots.style import BLUE, EMPTY, FAINT, GRID, INK, MUTED, ORANGE

# The plots' colours that must follow the page's; the data's own are readable on either ground.
_THEMED = {INK: "ink", MUTED: "muted", FAINT: "muted", GRID: "line", EMPTY: "line", BLUE: "s0", ORANGE: "s1"}


def svg(figure: Figure) -> Markup:
    """A figure as vector graphics inside the page, in the page's colours."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "page", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, variable in _THEMED.items():
        text = re.sub(f"(fill|stroke): {colour}", rf"\1: var(--{variable})", text, flags=re.IGNORECASE)
    return Markup(_unique_ids(text))  # drawn here; matplotlib escapes the text in it


def _unique_ids(text: str) -> str:
    """Several figures share a page: their ids must not."""
    own = hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'\bid="', f'id="{own}-', text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{own}-", text)


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
