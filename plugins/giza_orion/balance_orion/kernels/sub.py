"""Subtraction: one instruction that asserts x = z + y of the result z.

There is nothing to choose: x and y are known, and the equation has one solution in the field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_orion.emitter import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from balance_orion.emitter import Emitter


def emit(e: Emitter, node: int, operands: Sequence[Value], elements: np.ndarray) -> Value:
    """X - y."""
    del node, elements
    x, y = operands
    if y.ref is None:
        if x.ref is None:
            return Value(None, x.offset - y.offset, x.uniform and y.uniform)
        if y.uniform:
            return Value(x.ref, x.offset - y.offset)
        return Value(e.body.add(x.ref, -y.offset), x.offset)
    if x.ref is None:
        return Value(e.body.sub(e.body.constant(x.offset), y.ref), -y.offset)
    return Value(e.body.sub(x.ref, y.ref), x.offset - y.offset)
