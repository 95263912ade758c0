"""One file for each operation: its code for one element, the argument why no other result is accepted, its witness.

Throughout, `known` values are those that the program fixes. Code may rely on the interval of a known value, since the
interval holds for whatever inputs the verifier admits. All equations below are between integers of magnitude below
2^192, and so hold in the field exactly if they hold over the integers; every kernel that comes near says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from balance_core.integer.operations import (
    Add,
    ArgMax,
    Clamp,
    Divide,
    Less,
    Lookup,
    Max,
    Mul,
    Operation,
    Rescale,
    Sub,
    Sum,
)
from balance_orion.kernels import add, argmax, clamp, divide, less, lookup, maximum, mul, rescale, sub, total

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from balance_orion.emitter import Emitter, Value


class Kernel(Protocol):
    """The code of one element of an operation's result."""

    def emit(self, e: Emitter, node: int, operands: Sequence[Value], elements: np.ndarray) -> Value:
        """Write the code and return the result; `elements` are those that the turns of the loop make."""
        ...


@runtime_checkable
class Choosing(Protocol):
    """A kernel with range-checked cells of its own, beside those that hold its result."""

    def witness(
        self,
        name: str,
        parameters: tuple[int, ...],
        operation: Operation,
        operands: Sequence[np.ndarray],
        result: np.ndarray,
    ) -> np.ndarray:
        """Return what the cells of one name hold, for all elements of the result."""
        ...


KERNELS: dict[type[Operation], Kernel] = {
    Add: add,
    ArgMax: argmax,
    Clamp: clamp,
    Divide: divide,
    Less: less,
    Lookup: lookup,
    Max: maximum,
    Mul: mul,
    Rescale: rescale,
    Sub: sub,
    Sum: total,
}
