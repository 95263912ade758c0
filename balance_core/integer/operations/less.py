"""Element-wise comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from balance_core.integer.operations.base import Elementwise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.facts import Fact, Interval


@dataclass(frozen=True, eq=False)
class Less(Elementwise):
    """1 where x < y, else 0."""

    code: ClassVar[int] = 13
    name: ClassVar[str] = "less"
    meaning: ClassVar[str] = "1 if x < y, else 0"
    interval_rule: ClassVar[str] = "[1, 1] if x.hi < y.lo, [0, 0] if x.lo >= y.hi, else [0, 1]"

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Compare the ends."""
        x, y = operands
        return int(x.hi < y.lo), int(x.lo < y.hi)

    def peak(self, magnitudes: Sequence[int], operands: Sequence[Fact]) -> int:
        """Bound the difference that a prover forms."""
        del operands
        return sum(magnitudes)

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Compare."""
        del operands
        return np.asarray(np.less(arrays[0], arrays[1]).astype(np.int64))
