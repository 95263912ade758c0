"""Division by a positive tensor, rounded half up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from balance_core.integer.facts import Inadmissible
from balance_core.integer.operations.base import Elementwise

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from balance_core.integer.facts import Fact, Interval


@dataclass(frozen=True, eq=False)
class Divide(Elementwise):
    """x / y to the nearest integer, halves up; y is positive for every input."""

    code: ClassVar[int] = 10
    name: ClassVar[str] = "divide"
    meaning: ClassVar[str] = "floor((2x + y) / (2y)), admissible only if y.lo >= 1"
    interval_rule: ClassVar[str] = "least and largest of the operation on the four pairs of ends"

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Divide the ends: for fixed x the quotient is monotone in y, and the reverse."""
        x, y = operands
        if y.lo < 1:
            raise Inadmissible(f"the divisor may be {y.lo}, which is not positive")
        corners = [(2 * a + b) // (2 * b) for a in (x.lo, x.hi) for b in (y.lo, y.hi)]
        return min(corners), max(corners)

    def peak(self, magnitudes: Sequence[int], operands: Sequence[Fact]) -> int:
        """Bound the numerator and the denominator."""
        del operands
        return 2 * magnitudes[0] + 2 * magnitudes[1]

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Divide."""
        del operands
        x, y = arrays
        result: np.ndarray = (2 * x + y) // (2 * y)
        return result
