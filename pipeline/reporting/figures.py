"""matplotlib's figures inside a page, in the page's own colours."""

import hashlib
import io
import re

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.reporting.plots.style import BLUE, EMPTY, FAINT, GRID, INK, MUTED, ORANGE

# The plots' colours that must follow the page's; the data's own are readable on either ground.
_THEMED = {INK: "ink", MUTED: "muted", FAINT: "muted", GRID: "line", EMPTY: "line", BLUE: "s0", ORANGE: "s1"}


def svg(figure: Figure, title: str) -> Markup:
    """A figure as vector graphics inside the page, in the page's colours; `title` is what a screen reader says."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "page", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") + len("<svg") :]
    for colour, variable in _THEMED.items():
        text = re.sub(f"(fill|stroke): {colour}", rf"\1: var(--{variable})", text, flags=re.IGNORECASE)
    drawn = Markup(_unique_ids(text))  # drawn here; matplotlib escapes the text in it
    return Markup('<svg role="img" aria-label="{}"').format(title) + drawn


def _unique_ids(text: str) -> str:
    """Several figures share a page: their ids must not."""
    own = hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'\bid="', f'id="{own}-', text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{own}-", text)
