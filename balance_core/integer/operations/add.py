"""Element-wise addition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from balance_core.integer.operations.base import Elementwise

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from balance_core.integer.facts import Fact, Interval


@dataclass(frozen=True, eq=False)
class Add(Elementwise):
    """x + y."""

    code: ClassVar[int] = 3
    name: ClassVar[str] = "add"
    meaning: ClassVar[str] = "x + y"
    interval_rule: ClassVar[str] = "[x.lo + y.lo, x.hi + y.hi]"

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Add the ends."""
        x, y = operands
        return x.lo + y.lo, x.hi + y.hi

    def peak(self, magnitudes: Sequence[int], operands: Sequence[Fact]) -> int:
        """Bound the sum."""
        del operands
        return sum(magnitudes)

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Add."""
        del operands
        result: np.ndarray = arrays[0] + arrays[1]
        return result
