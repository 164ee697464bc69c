"""Learning curves as lines that a template draws: coordinates, ticks, words at their ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 460, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 10, 10, 26
_TICKS = 4


@dataclass(frozen=True)
class Curve:
    """A chart: points of each line as SVG has them, and where its ticks are, with their numbers."""

    lines: dict[str, str]
    across: list[tuple[float, str]]
    down: list[tuple[float, str]]
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    bottom: int = HEIGHT - _BOTTOM
    width: int = WIDTH
    height: int = HEIGHT


def curve(lines: Mapping[str, Sequence[tuple[int, float]]], epochs: int, *, percent: bool = False) -> Curve | None:
    """Values of epochs as a chart that has room for all `epochs`; None where there is nothing to draw."""
    values = [value for points in lines.values() for _, value in points if abs(value) < float("inf")]
    if not values:
        return None
    low, high = min(values), max(values)
    low, high = (low, high) if high > low else (low - 0.05, high + 0.05)
    last = max(2, epochs, *(step for points in lines.values() for step, _ in points))

    def x(step: float) -> float:
        return round(_LEFT + (step - 1) / (last - 1) * (WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(_TOP + (high - value) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    down = [tick for tick in MaxNLocator(_TICKS).tick_values(low, high) if low <= tick <= high]
    across = [tick for tick in MaxNLocator(_TICKS, integer=True).tick_values(1, last) if 1 <= tick <= last]
    return Curve(
        {name: " ".join(f"{x(step)},{y(value)}" for step, value in points if abs(value) < float("inf"))
         for name, points in lines.items()},
        [(x(tick), f"{tick:g}") for tick in across],
        [(y(tick), f"{100 * tick:.4g} %" if percent else f"{tick:.3g}") for tick in down],
    )  # fmt: skip
