"""Matrix product, with leading batch axes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from balance_core.integer.facts import EXACT_FLOAT, Inadmissible, broadcast, product_interval
from balance_core.integer.operations.base import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.facts import Fact, Interval, Shape
    from balance_core.integer.operations.base import Kernel


@dataclass(frozen=True, eq=False)
class MatMul(Operation):
    """The product of matrices in the last two axes."""

    code: ClassVar[int] = 7
    name: ClassVar[str] = "matmul"
    arity: ClassVar[int | None] = 2
    meaning: ClassVar[str] = "sum over k of x[..., i, k] * y[..., k, j]"
    shape_rule: ClassVar[str] = (
        "equal rank of at least 2: [..., m, k] and [..., k, n] give [..., m, n]; other axes broadcast"
    )
    interval_rule: ClassVar[str] = "k times the least and the largest of the four products of ends"

    def shape(self, operands: Sequence[Fact]) -> Shape:
        """Return [..., m, n]."""
        x, y = (operand.shape for operand in operands)
        if min(len(x), len(y)) < 2 or x[-1] != y[-2]:
            raise Inadmissible(f"matrices of shapes {x} and {y} do not multiply")
        return (*broadcast(x[:-2], y[:-2]), x[-2], y[-1])

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Multiply the interval of one product by the number of products."""
        x, y = operands
        low, high = product_interval((x.lo, x.hi), (y.lo, y.hi))
        return low * x.shape[-1], high * x.shape[-1]

    def peak(self, magnitudes: Sequence[int], operands: Sequence[Fact]) -> int:
        """Bound every partial sum."""
        return magnitudes[0] * magnitudes[1] * operands[0].shape[-1]

    def exact_in_float(self, operands: Sequence[Fact]) -> bool:
        """Whether float64 computes every partial sum exactly."""
        return self.peak([x.magnitude for x in operands], operands) < EXACT_FLOAT

    def macs(self, operands: Sequence[Fact]) -> int:
        """One for each term of each element of the result."""
        return prod(self.shape(operands)) * operands[0].shape[-1]

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Multiply."""
        return self.kernel(operands)(arrays)

    def kernel(self, operands: Sequence[Fact]) -> Kernel:
        """Multiply, through BLAS where that is exact; by one matrix for all samples in one product."""
        if not self.exact_in_float(operands):
            return lambda arrays: np.asarray(np.matmul(*arrays))
        shape = operands[1].shape
        single = prod(shape[:-2]) == 1
        k, n = shape[-2:]

        def multiply(arrays: Sequence[np.ndarray]) -> np.ndarray:
            x, y = arrays
            x, y = x.astype(np.float64, copy=False), y.astype(np.float64, copy=False)
            if single and y.shape[0] == 1:
                rows = (x.reshape(-1, k) @ y.reshape(k, n)).astype(np.int64)
                return np.asarray(rows.reshape(*x.shape[:-1], n))
            return np.asarray(np.matmul(x, y).astype(np.int64))

        return multiply
