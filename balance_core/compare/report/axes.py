"""Axes that people read: round numbers, room at both ends, and names that stand in nobody's way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from balance_core.compare.report import svg
from balance_core.compare.report.numbers import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axis import Axis

    from balance_core.compare.metrics import Metric

_LOG_ROOM = 1.6
"""How far a logarithmic axis goes past its outermost point."""


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Return where a logarithmic axis begins and ends, at least a decade apart."""
    low, high = min(values) / _LOG_ROOM, max(values) * _LOG_ROOM
    if high / low < 10:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(10), middle * math.sqrt(10)
    return low, high


def scale(axis: Axis, metric: Metric, values: Sequence[float]) -> None:
    """Give an axis its scale, limits and ticks: linear for shares, logarithmic for all else."""
    if metric.unit == "share":
        from matplotlib.ticker import MultipleLocator

        low = min(0.95, max(0.0, math.floor(min(values) * 50 - 0.5) / 50))
        step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if (1 - low) / step <= _MOST_TICKS + 1)
        axis.set_view_interval(low, 1 + (1 - low) * 0.06, ignore=True)
        axis.set_major_locator(MultipleLocator(step))
        axis.set_major_formatter(lambda value, _: f"{value * 100:.4g} %")
        axis.grid(True)
        return
    axes = axis.axes
    (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
    low, high = limits(values)
    axis.set_view_interval(low, high, ignore=True)
    dress(axis, metric, low, high)


def dress(axis: Axis, metric: Metric, low: float, high: float) -> None:
    """Give an axis its ticks and a grid."""
    ticks(axis, metric.unit, low, high)
    axis.grid(True)


def ticks(axis: Axis, unit: str, low: float, high: float) -> None:
    """Set about four ticks at round numbers, named as people read them."""
    from matplotlib.ticker import FixedLocator, NullLocator

    places = round_numbers(low, high, unit)
    axis.set_major_locator(FixedLocator(places))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: show(value, unit))


_ROUND_SECONDS = tuple(
    [m * 10.0**e for e in range(-6, 0) for m in (1, 2, 5)]
    + [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 18000, 36000, 86400]
)
_ROUND_BYTES = tuple(float(m * 2**e) for e in range(0, 50, 10) for m in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512))
_ROUND = tuple(m * 10.0**e for e in range(-9, 16) for m in (1, 2, 5))
_MOST_TICKS = 5


def round_numbers(low: float, high: float, unit: str) -> list[float]:
    """Return at most five round numbers of the unit within a logarithmic axis, none too near to the one before."""
    known = {"s": _ROUND_SECONDS, "B": _ROUND_BYTES}.get(unit, _ROUND)
    apart = (high / low) ** (1 / (_MOST_TICKS + 0.5))
    kept: list[float] = []
    for number in known:
        if low <= number <= high and (not kept or number >= kept[-1] * apart):
            kept.append(number)
    return kept[:_MOST_TICKS]


def labels(made: svg.Drawing, names: Sequence[str], points: Sequence[tuple[float, float]]) -> None:
    """Name each point beside it, to the left in the right half; a name moves up until no other is in its way."""
    axes = made.axes
    made.figure.draw_without_rendering()
    spots, box, unit = axes.transData.transform(points), axes.get_window_extent(), made.figure.dpi / 72
    taken = [(y, x - 6 * unit, x + 6 * unit) for x, y in spots]
    for place in sorted(range(len(names)), key=lambda place: spots[place][1]):
        x, y = spots[place]
        text, left = names[place], x > box.x0 + box.width * 0.5
        width = len(text) * 5.2 * unit
        start = x - 8 * unit - width if left else x + 8 * unit
        shift = 0.0
        while any(abs(y + shift * unit - other) < 10 * unit and start < end and begin < start + width
                  for other, begin, end in taken):  # fmt: skip
            shift += 2
        taken.append((y + shift * unit, start, start + width))
        axes.annotate(text, points[place], (-8 if left else 8, shift), size=8.5, textcoords="offset points",
                      ha="right" if left else "left", va="center", color=svg.INK)  # fmt: skip
