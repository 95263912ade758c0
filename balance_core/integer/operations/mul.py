"""Element-wise multiplication."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

from balance_core.integer.facts import product_interval
from balance_core.integer.operations.base import Elementwise

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from balance_core.integer.facts import Fact, Interval


@dataclass(frozen=True, eq=False)
class Mul(Elementwise):
    """x * y."""

    code: ClassVar[int] = 5
    name: ClassVar[str] = "mul"
    meaning: ClassVar[str] = "x * y"
    interval_rule: ClassVar[str] = (
        "least and largest of the four products of ends; a tensor times itself: least 0 if 0 is inside, else the "
        "smaller square of an end"
    )

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Multiply the ends; a square is never negative."""
        x, y = operands
        if x is y:
            least = 0 if x.lo <= 0 <= x.hi else min(x.lo * x.lo, x.hi * x.hi)
            return least, x.magnitude**2
        return product_interval((x.lo, x.hi), (y.lo, y.hi))

    def peak(self, magnitudes: Sequence[int], operands: Sequence[Fact]) -> int:
        """Bound the product."""
        del operands
        return prod(magnitudes)

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Multiply."""
        del operands
        result: np.ndarray = arrays[0] * arrays[1]
        return result
