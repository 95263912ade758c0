"""Element-wise subtraction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from balance_core.integer.operations.base import Elementwise

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from balance_core.integer.facts import Fact, Interval


@dataclass(frozen=True, eq=False)
class Sub(Elementwise):
    """x - y."""

    code: ClassVar[int] = 4
    name: ClassVar[str] = "sub"
    meaning: ClassVar[str] = "x - y"
    interval_rule: ClassVar[str] = "[x.lo - y.hi, x.hi - y.lo]"

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Subtract the opposite ends."""
        x, y = operands
        return x.lo - y.hi, x.hi - y.lo

    def peak(self, magnitudes: Sequence[int], operands: Sequence[Fact]) -> int:
        """Bound the difference."""
        del operands
        return sum(magnitudes)

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Subtract."""
        del operands
        result: np.ndarray = arrays[0] - arrays[1]
        return result
