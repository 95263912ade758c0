"""How a cost grows with a model's size: a power law fitted to several sizes of one family."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_SIZES = 3
"""Two sizes always lie on a line, which says nothing about how well it fits."""


@dataclass(frozen=True)
class PowerLaw:
    """cost = factor * size ** exponent, by least squares of the logarithms."""

    factor: float
    exponent: float
    error: float
    """Standard error of the exponent; 0 where all sizes lie on the line."""
    fit: float
    """Share of the logarithms' variance that the line explains (R squared)."""

    def at(self, size: float) -> float:
        """Return the cost of a size."""
        return float(self.factor * size**self.exponent)


def fit(sizes: Sequence[float], costs: Sequence[float]) -> PowerLaw | None:
    """Fit the law, or return None for fewer than three different positive sizes."""
    pairs = [(math.log(s), math.log(c)) for s, c in zip(sizes, costs, strict=True) if s > 0 and c > 0]
    if len({x for x, _ in pairs}) < LEAST_SIZES:
        return None
    count = len(pairs)
    mean_x = sum(x for x, _ in pairs) / count
    mean_y = sum(y for _, y in pairs) / count
    spread_x = sum((x - mean_x) ** 2 for x, _ in pairs)
    exponent = sum((x - mean_x) * (y - mean_y) for x, y in pairs) / spread_x
    offset = mean_y - exponent * mean_x
    residual = sum((y - offset - exponent * x) ** 2 for x, y in pairs)
    total = sum((y - mean_y) ** 2 for _, y in pairs)
    return PowerLaw(
        factor=math.exp(offset),
        exponent=exponent,
        error=math.sqrt(residual / (count - 2) / spread_x),
        fit=1 - residual / total if total else 1.0,
    )
