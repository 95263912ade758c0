"""Sum over axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from balance_core.integer.operations.base import Reduction

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from balance_core.integer.facts import Fact, Interval


@dataclass(frozen=True, eq=False)
class Sum(Reduction):
    """The sum of the elements along the axes."""

    code: ClassVar[int] = 6
    name: ClassVar[str] = "sum"
    meaning: ClassVar[str] = "sum of x over the axes"
    interval_rule: ClassVar[str] = "[c * lo, c * hi] for c elements summed"
    attributes: ClassVar[str] = "axes: rising axes"

    axes: tuple[int, ...]

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Multiply the ends by the number of elements."""
        count = self.count(operands[0])
        return count * operands[0].lo, count * operands[0].hi

    def peak(self, magnitudes: Sequence[int], operands: Sequence[Fact]) -> int:
        """Bound every partial sum."""
        return magnitudes[0] * self.count(operands[0])

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Sum."""
        del operands
        result: np.ndarray = arrays[0].sum(axis=self.batch_axes, keepdims=True)
        return result
