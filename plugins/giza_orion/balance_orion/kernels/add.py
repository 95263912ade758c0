"""Addition: one instruction that asserts the sum.

There is nothing to choose. A number that is added to all elements alike is kept beside the cell and costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_orion.emitter import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from balance_orion.emitter import Emitter


def emit(e: Emitter, node: int, operands: Sequence[Value], elements: np.ndarray) -> Value:
    """X + y."""
    del node, elements
    x, y = operands
    if x.ref is None:
        x, y = y, x
    if x.ref is None:
        return Value(None, x.offset + y.offset, x.uniform and y.uniform)
    if y.ref is None:
        if y.uniform:
            return Value(x.ref, x.offset + y.offset)
        return Value(e.body.add(x.ref, y.offset), x.offset)
    return Value(e.body.add(x.ref, y.ref), x.offset + y.offset)
