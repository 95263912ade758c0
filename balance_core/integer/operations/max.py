"""Maximum over axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from balance_core.integer.operations.base import Reduction

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from balance_core.integer.facts import Fact, Interval


@dataclass(frozen=True, eq=False)
class Max(Reduction):
    """The largest of the elements along the axes."""

    code: ClassVar[int] = 14
    name: ClassVar[str] = "max"
    meaning: ClassVar[str] = "largest x over the axes"
    interval_rule: ClassVar[str] = "the operand's"
    attributes: ClassVar[str] = "axes: rising axes"

    axes: tuple[int, ...]

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Return the operand's interval."""
        return operands[0].lo, operands[0].hi

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Take the maximum."""
        del operands
        result: np.ndarray = arrays[0].max(axis=self.batch_axes, keepdims=True)
        return result
