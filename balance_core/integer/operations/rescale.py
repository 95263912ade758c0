"""Division by a positive constant, rounded half up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from balance_core.integer.facts import Inadmissible
from balance_core.integer.operations.base import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from balance_core.integer.facts import Fact, Interval, Shape


@dataclass(frozen=True, eq=False)
class Rescale(Operation):
    """x / d to the nearest integer, halves up."""

    code: ClassVar[int] = 9
    name: ClassVar[str] = "rescale"
    arity: ClassVar[int | None] = 1
    meaning: ClassVar[str] = "floor((2x + d) / (2d))"
    shape_rule: ClassVar[str] = "the operand's"
    interval_rule: ClassVar[str] = "the operation applied to both ends (it is monotone)"
    attributes: ClassVar[str] = "divisor: d, at least 1"

    divisor: int

    def shape(self, operands: Sequence[Fact]) -> Shape:
        """Return the operand's shape."""
        if self.divisor < 1:
            raise Inadmissible(f"the divisor {self.divisor} is not positive")
        return operands[0].shape

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Rescale the ends."""
        x, d = operands[0], self.divisor
        return (2 * x.lo + d) // (2 * d), (2 * x.hi + d) // (2 * d)

    def peak(self, magnitudes: Sequence[int], operands: Sequence[Fact]) -> int:
        """Bound the numerator and the denominator."""
        del operands
        return 2 * magnitudes[0] + 2 * self.divisor

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Divide; an even power of two by a shift, which rounds down as the formula does."""
        del operands
        x, d = arrays[0], self.divisor
        if d == 1:
            return x
        if d & (d - 1) == 0:
            result = x + (d >> 1)
            result >>= d.bit_length() - 1
        else:
            result = 2 * x
            result += d
            result //= 2 * d
        return result
