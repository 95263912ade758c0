"""Position of the maximum along one axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from balance_core.integer.facts import Inadmissible
from balance_core.integer.operations.base import Reduction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.facts import Fact, Interval, Shape


@dataclass(frozen=True, eq=False)
class ArgMax(Reduction):
    """The lowest position at which the largest element along one axis stands."""

    code: ClassVar[int] = 15
    name: ClassVar[str] = "argmax"
    meaning: ClassVar[str] = "least i at which x is largest along the axis"
    interval_rule: ClassVar[str] = "[0, n - 1] for an axis of size n"
    attributes: ClassVar[str] = "axes: exactly one axis"

    axes: tuple[int, ...]

    def shape(self, operands: Sequence[Fact]) -> Shape:
        """Return the operand's shape with 1 for the axis."""
        if len(self.axes) != 1:
            raise Inadmissible(f"argmax takes one axis and has {self.axes}")
        return super().shape(operands)

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Return the positions of the axis."""
        return 0, operands[0].shape[self.axes[0]] - 1

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Find the first maximum."""
        del operands
        return np.asarray(np.argmax(arrays[0], axis=self.batch_axes[0], keepdims=True), dtype=np.int64)
