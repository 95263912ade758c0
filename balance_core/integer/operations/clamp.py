"""Saturation to constant ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from balance_core.integer.facts import Inadmissible
from balance_core.integer.operations.base import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.facts import Fact, Interval, Shape


@dataclass(frozen=True, eq=False)
class Clamp(Operation):
    """x, or the nearest end of [lo, hi] when x is outside."""

    code: ClassVar[int] = 11
    name: ClassVar[str] = "clamp"
    arity: ClassVar[int | None] = 1
    meaning: ClassVar[str] = "min(max(x, lo), hi)"
    shape_rule: ClassVar[str] = "the operand's"
    interval_rule: ClassVar[str] = "[min(max(x.lo, lo), hi), min(max(x.hi, lo), hi)]"
    attributes: ClassVar[str] = "lo; hi, at least lo"

    lo: int
    hi: int

    def shape(self, operands: Sequence[Fact]) -> Shape:
        """Return the operand's shape."""
        if self.lo > self.hi:
            raise Inadmissible(f"clamp to the empty interval [{self.lo}, {self.hi}]")
        return operands[0].shape

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Clamp the ends."""
        x = operands[0]
        return min(max(x.lo, self.lo), self.hi), min(max(x.hi, self.lo), self.hi)

    def peak(self, magnitudes: Sequence[int], operands: Sequence[Fact]) -> int:
        """Bound the operand and the ends."""
        del operands
        return max(magnitudes[0], abs(self.lo), abs(self.hi))

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Saturate."""
        del operands
        result: np.ndarray = np.maximum(arrays[0], self.lo)
        np.minimum(result, self.hi, out=result)
        return result
