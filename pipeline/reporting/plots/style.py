"""The look all figures share: quiet ink, a light grid, no box; colours that the colour-blind tell apart."""

import warnings
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

INK, MUTED, FAINT, GRID, EMPTY = "#1f2937", "#6b7280", "#cbd5e1", "#e5e7eb", "#f3f4f6"
# Okabe and Ito 2008, without the yellow that fades on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
BLUE, ORANGE = COLOURS[0], COLOURS[1]
SHADES = LinearSegmentedColormap.from_list(
    "shades", ["#ffffff", "#cfe3f2", "#6aaed6", "#0072B2", "#08315c"]
).with_extremes(bad=EMPTY)
DPI = 144

# A letter that the font has not becomes a box, and is right on the pages; a warning for each would drown all else.
warnings.filterwarnings("ignore", message="Glyph .* missing from font")


def new_figure(width: float, height: float, title: str = "", margins: Mapping[str, float] | None = None) -> Figure:
    """An empty figure of so many inches, the title in its upper left corner.

    With `margins` (as `Figure.subplots_adjust` takes them) they are not looked for, which takes as long as drawing.
    """
    figure = Figure(figsize=(width, height), dpi=DPI, layout=None if margins else "constrained", facecolor="white")
    if margins:
        figure.subplots_adjust(**margins)
    if title:
        figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=13, fontweight="bold")
    return figure


def tidy(axes: Axes, *, xlabel: str = "", ylabel: str = "", title: str = "", grid: bool = True) -> None:
    """Give axes the shared look and their names."""
    axes.set_title(title, loc="left", color=INK, fontsize=11)
    axes.set_xlabel(xlabel, color=MUTED)
    axes.set_ylabel(ylabel, color=MUTED)
    axes.tick_params(colors=MUTED, length=0)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(color=GRID, linewidth=0.8)
    for side in axes.spines.values():
        side.set_visible(False)


def shortened(names: Sequence[str], longest: int = 30) -> list[str]:
    """Names cut to `longest` characters, the cut shown, and none of them taken for mathematics."""
    cut = [name if len(name) <= longest else name[: longest - 1] + "…" for name in names]
    return [name.replace("$", r"\$") for name in cut]
