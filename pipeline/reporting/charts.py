"""Charts as inline SVG, drawn in the page's own colours: bars, histograms, a cloud of points."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.ticker import LogLocator, MaxNLocator

from pipeline.reporting.tables import written

_WIDTH = 900
_ROW = 22
_NAMES = 210.0  # the same in every chart, so that bars stand in line
_LETTER = 6.8  # pixels, about
_EDGE = 24  # nearer to a histogram's side its numbers would stand out
_MOST_TICKS = 5


def bars(counts: pd.DataFrame, *, title: str = "") -> Markup:
    """A row of the frame a bar, its columns stacked in their order, the sum at its end."""
    totals = counts.sum(axis=1)
    names = [str(name) for name in counts.index]
    left = _NAMES
    scale = (_WIDTH - left - 70) / max(1.0, float(totals.max()))
    parts = []
    for place, name in enumerate(names):
        y, x = place * _ROW, left
        parts.append(_text(left - 10, y + 15, _cut(name, left), "end", hint=name))
        for number, value in enumerate(counts.iloc[place]):
            hint = f"{name}: {written(value)} {counts.columns[number]}"
            parts.append(_rect(x, y + 4, value * scale, _ROW - 8, kind=f"s{number}", hint=hint))
            x += value * scale
        parts.append(_text(x + 8, y + 15, written(totals.iloc[place]), "start", kind="n"))
    return _chart(title, parts, len(names) * _ROW, list(counts.columns) if counts.shape[1] > 1 else [])


def profile(values: np.ndarray, *, title: str, foot: str) -> Markup:
    """Many values, largest first, as one falling shape: what bars are for few."""
    falling = np.sort(values)[::-1].astype(float)
    x = np.linspace(0, _WIDTH - 60, min(len(falling), 600))
    y = falling[np.linspace(0, len(falling) - 1, len(x)).astype(int)]
    height, top = 160, max(1.0, float(falling[0]))
    points = [f"{a + 50:.1f},{height - 150 * b / top:.1f}" for a, b in zip(x, y, strict=True)]
    area = f"50,{height} {' '.join(points)} {points[-1].split(',')[0]},{height}"
    parts = [Markup('<polygon class="s0" points="{}"/>').format(area)]
    parts += [_text(42, 16, written(falling[0]), "end", kind="n"), _text(42, height, "0", "end", kind="n")]
    parts.append(_text(50, height + 20, foot, "start", kind="n"))
    return _chart(title, parts, height + 28)


def histogram(values: np.ndarray, *, title: str, unit: str = "", bins: int = 30, log: bool = False) -> Markup:
    """How often values fall where; on a logarithmic axis where asked and possible."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Markup("")
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        return Markup('<div class="chart"><h3>{}</h3><p>all {}{}</p></div>').format(title, written(low), unit)
    edges = np.geomspace(low, high, bins + 1) if log and low > 0 else np.linspace(low, high, bins + 1)
    edges[0], edges[-1] = low, high  # as geomspace may miss by a rounding
    counts, _ = np.histogram(finite, edges)
    width, height = 340, 120
    step = width / bins
    parts = [
        _rect(place * step, height - height * n / counts.max(), step - 1, height * n / counts.max(), kind="s0",
              hint=f"{written(edges[place])} to {written(edges[place + 1])}{unit}: {written(int(n))}")
        for place, n in enumerate(counts)
    ]  # fmt: skip
    logarithmic = log and low > 0

    def across(value: float) -> float:
        share = np.log(value / low) / np.log(high / low) if logarithmic else (value - low) / (high - low)
        return float(width * share)

    middle = float(np.median(finite))
    parts.append(_line(f"M{across(middle):.1f} 0V{height}", strong=True))
    for tick in _ticks(low, high, log=logarithmic):
        x = across(tick)
        parts.append(_line(f"M{x:.1f} {height}v4"))
        anchor = "start" if x < _EDGE else "end" if x > width - _EDGE else "middle"
        parts.append(_text(x, height + 18, f"{written(tick)}{unit}", anchor, kind="n"))
    foot = f"{written(low)} to {written(high)}{unit}, median {written(middle)}{unit}"
    parts.append(_text(0, height + 36, foot, "start", kind="n"))
    return _chart(title, parts, height + 42, width=width)


def _ticks(low: float, high: float, *, log: bool) -> list[float]:
    """Some four round numbers from `low` to `high`."""
    locator = LogLocator(subs=(1, 2, 5), numticks=6) if log else MaxNLocator(4, steps=[1, 2, 2.5, 5, 10])
    ticks = [float(tick) for tick in locator.tick_values(low, high) if low <= tick <= high]
    return ticks[:: -(-len(ticks) // _MOST_TICKS)]


def world(latitude: np.ndarray, longitude: np.ndarray, *, title: str) -> Markup:
    """Where on the globe, degrees as they are (plate carrée), a grid of 30 degrees beneath, the equator stronger."""
    margin = 48  # for the names of the parallels
    scale = (_WIDTH - margin) / 360
    height = 180 * scale

    def across(degrees: Any) -> Any:
        return margin + (degrees + 180) * scale

    def down(degrees: Any) -> Any:
        return (90 - degrees) * scale

    parts = []
    for degrees in range(-180, 181, 30):
        x = across(degrees)
        parts.append(_line(f"M{x:.1f} 0V{height:.1f}", strong=degrees == 0))
        if degrees % 60 == 0 and abs(degrees) < 180:
            parts.append(_text(x, height + 16, _degrees(degrees, "EW"), "middle", kind="n"))
    for degrees in range(-90, 91, 30):
        y = down(degrees)
        parts.append(_line(f"M{margin} {y:.1f}H{_WIDTH}", strong=degrees == 0))
        parts.append(_text(margin - 8, y + 4, _degrees(degrees, "NS"), "end", kind="n"))
    cells = np.unique(np.stack([across(longitude), down(latitude)], axis=1).round(), axis=0)
    parts += [Markup('<circle class="dot" cx="{:g}" cy="{:g}" r="2.5"/>').format(x, y) for x, y in cells]
    return _chart(title, parts, height + 20)


def _line(path: str, *, strong: bool = False) -> Markup:
    return Markup('<path class="grid" d="{}" stroke-width="{}"/>').format(path, 2.5 if strong else 1)


def _degrees(value: int, sides: str) -> str:
    """`60° N`: positive on the first of the sides."""
    return f"{abs(value)}° {sides[value < 0]}" if value else "0°"


def _chart(
    title: str, parts: Sequence[Markup], height: float, legend: Sequence[str] = (), width: int = _WIDTH
) -> Markup:
    keys = Markup("").join(
        Markup('<span class="key"><i class="s{}"></i>{}</span>').format(number, name)
        for number, name in enumerate(legend)
    )
    return Markup(
        '<div class="chart"><h3>{}</h3>{}'
        '<svg viewBox="0 0 {} {:g}" style="max-width:{}px" role="img" aria-label="{}">{}</svg></div>'
    ).format(
        title, Markup('<div class="legend">{}</div>').format(keys) if keys else "", width, height + 2, width, title,
        Markup("").join(parts),
    )  # fmt: skip


def _rect(x: float, y: float, width: float, height: float, *, kind: str, hint: str) -> Markup:
    return Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
    ).format(kind, x, y, width, height, hint)


def _text(x: float, y: float, words: str, anchor: str, *, hint: str = "", kind: str = "") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}<title>{}</title></text>').format(
        kind, x, y, anchor, words, hint or words
    )


def _cut(name: str, width: float) -> str:
    most = int((width - 14) / _LETTER)
    return name if len(name) <= most else name[: most - 1] + "…"
