"""Which of several options nobody beats: the Pareto front."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def front(points: Sequence[tuple[float, ...]]) -> list[int]:
    """Return the places of the points that no other point dominates, in order of the first coordinate.

    Less is better in every coordinate. A point dominates another if it is nowhere worse and somewhere better, so
    equal points stand on the front together.
    """
    kept = [place for place, point in enumerate(points) if not any(_dominates(other, point) for other in points)]
    return sorted(kept, key=lambda place: points[place])


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
