"""Charts as inline SVG, drawn in the page's own colours: bars, histograms, a cloud of points."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.ticker import LogLocator, MaxNLocator

from pipeline.reporting.tables import written

_WIDTH = 900
_EDGE = 24  # nearer to a histogram's side its numbers would stand out
_MOST_TICKS = 5
_CLOUD_HEIGHT, _TILE = 600, 50
_MOST_COLOURS = 12  # that a key tells apart


def bars(counts: pd.DataFrame, *, title: str = "") -> Markup:
    """A row of the frame a bar, its columns stacked in their order, the sum at its end; as text, to fit any width."""
    totals = counts.sum(axis=1)
    most = max(1.0, float(totals.max()))
    part = Markup('<i class="s{}" style="width:{:.2f}%" title="{}: {} {}"></i>')
    rows = []
    for name, values in zip(map(str, counts.index), counts.to_numpy(), strict=True):
        stack = Markup("").join(
            part.format(number, 100 * value / most, name, written(value), counts.columns[number])
            for number, value in enumerate(values)
        )
        rows.append(Markup("<dt>{}</dt><dd>{}<span>{}</span></dd>").format(name, stack, written(values.sum())))
    legend = _legend(list(counts.columns) if counts.shape[1] > 1 else [])
    return Markup('<div class="chart"><h3>{}</h3>{}<dl class="bars">{}</dl></div>').format(
        title, legend, Markup("").join(rows)
    )


def profile(values: np.ndarray, *, title: str, foot: str) -> Markup:
    """Many values, largest first, as one falling shape: what bars are for few."""
    falling = np.sort(values)[::-1].astype(float)
    x = np.linspace(0, _WIDTH, min(len(falling), 600))
    y = falling[np.linspace(0, len(falling) - 1, len(x)).astype(int)]
    height, top = 160, max(1.0, float(falling[0]))
    points = [f"{a:.1f},{height - 150 * b / top:.1f}" for a, b in zip(x, y, strict=True)]
    area = f"0,{height} {' '.join(points)} {_WIDTH},{height}"
    ends = f"{foot}: {written(falling[0])} to {written(falling[-1])}"
    parts = [Markup('<polygon class="s0" points="{}"/>').format(area), _text(0, height + 26, ends, "start")]
    return _chart(title, parts, height + 34)


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
        parts.append(_text(x, height + 18, written(tick), anchor))  # its unit, below, would have them touch
    foot = f"{written(low)} to {written(high)}{unit}, median {written(middle)}{unit}"
    parts.append(_text(0, height + 36, foot, "start"))
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
            parts.append(_text(x, height + 16, _degrees(degrees, "EW"), "middle"))
    for degrees in range(-90, 91, 30):
        y = down(degrees)
        parts.append(_line(f"M{margin} {y:.1f}H{_WIDTH}", strong=degrees == 0))
        parts.append(_text(margin - 8, y + 4, _degrees(degrees, "NS"), "end"))
    cells = np.unique(np.stack([across(longitude), down(latitude)], axis=1).round(), axis=0)
    parts += [Markup('<circle class="dot" cx="{:g}" cy="{:g}" r="2.5"/>').format(x, y) for x, y in cells]
    return _chart(title, parts, height + 20)


def cloud(points: np.ndarray, kinds: np.ndarray, names: Sequence[str], hints: Sequence[str], *, title: str) -> Markup:
    """A dot at each of points (n, 2), coloured by its kind (n,), of `names`; its hint shows under a pointer."""
    dots = [
        Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3.5" fill="{}" fill-opacity=".7"><title>{}</title></circle>').format(
            x, y, _colour(kind), hint
        )
        for (x, y), kind, hint in zip(_spread(points), kinds.tolist(), hints, strict=True)
    ]
    key = Markup('<span class="key"><i style="background:{}"></i>{}</span>')
    few = list(enumerate(names)) if len(names) <= _MOST_COLOURS else []
    legend = Markup("").join(key.format(_colour(kind), name) for kind, name in few)
    words = Markup('<div class="legend">{}</div>').format(legend) if few else Markup("")
    return words + _chart(title, dots, _CLOUD_HEIGHT)


def mosaic(points: np.ndarray) -> list[tuple[int, int, int]]:
    """For each cell of a grid over points (n, 2) that has any, the one nearest its middle: place, column, row."""
    cells = _spread(points) / _TILE
    inside = cells.astype(int)
    apart = np.abs(cells - inside - 0.5).max(axis=1)
    order = np.argsort(apart, kind="stable")
    _, first = np.unique(inside[order], axis=0, return_index=True)
    return [(place, *inside[place].tolist()) for place in order[first].tolist()]


def tiled(tiles: Sequence[tuple[int, int, str, str]], *, title: str) -> Markup:
    """Small pictures (their addresses) at a column and a row of the grid of `mosaic`, each with its hint."""
    part = Markup('<image x="{}" y="{}" width="{}" height="{}" href="{}"><title>{}</title></image>')
    shown = [part.format(x * _TILE, y * _TILE, _TILE - 3, _TILE - 3, source, hint) for x, y, source, hint in tiles]
    return _chart(title, shown, _CLOUD_HEIGHT)


def _spread(points: np.ndarray) -> np.ndarray:
    """Points (n, 2) over all of a cloud's chart, a little off its edge."""
    low, high = points.min(axis=0), points.max(axis=0)
    share = (points - low) / np.where(high > low, high - low, 1)
    return 4 + share * (np.array([_WIDTH, _CLOUD_HEIGHT]) - 8)


def _colour(kind: int) -> str:
    """Turned by the golden angle from one kind to the next, legible on light and on dark."""
    return f"hsl({(207 + 137.5 * kind) % 360:.0f} 58% 55%)"


def _line(path: str, *, strong: bool = False) -> Markup:
    return Markup('<path class="grid" d="{}" stroke-width="{}"/>').format(path, 2.5 if strong else 1)


def _degrees(value: int, sides: str) -> str:
    """`60° N`: positive on the first of the sides."""
    return f"{abs(value)}° {sides[value < 0]}" if value else "0°"


def _legend(names: Sequence[str]) -> Markup:
    keys = [Markup('<span class="key"><i class="s{}"></i>{}</span>').format(*one) for one in enumerate(names)]
    return Markup('<div class="legend">{}</div>').format(Markup("").join(keys)) if keys else Markup("")


def _chart(title: str, parts: Sequence[Markup], height: float, width: int = _WIDTH) -> Markup:
    return Markup(
        '<div class="chart"><h3>{0}</h3><svg{1} viewBox="0 0 {2} {3:g}" style="max-width:{2}px" role="img" '
        'aria-label="{0}">{4}</svg></div>'
    ).format(
        title, Markup(' class="wide"') if width == _WIDTH else "", width, height + 2, Markup("").join(parts)
    )  # fmt: skip


def _rect(x: float, y: float, width: float, height: float, *, kind: str, hint: str) -> Markup:
    return Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
    ).format(kind, x, y, width, height, hint)


def _text(x: float, y: float, words: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, words)
