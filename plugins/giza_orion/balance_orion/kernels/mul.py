"""Multiplication: one instruction that asserts the product.

There is nothing to choose. Numbers kept beside the cells are added first, where they do not vanish.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_orion.emitter import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from balance_orion.emitter import Emitter


def emit(e: Emitter, node: int, operands: Sequence[Value], elements: np.ndarray) -> Value:
    """X * y."""
    del node, elements
    x, y = operands
    if x.ref is None:
        x, y = y, x
    if x.ref is None:
        return Value(None, x.offset * y.offset, x.uniform and y.uniform)
    if y.ref is None:
        if y.uniform:
            return Value(e.body.mul(x.ref, y.offset), x.offset * y.offset)
        return Value(e.body.mul(e.plain(x), y.offset))
    return Value(e.body.mul(e.plain(x), e.plain(y)))
