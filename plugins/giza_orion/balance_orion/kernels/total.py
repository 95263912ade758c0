"""Sum over axes: additions one after the other.

There is nothing to choose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_orion.emitter import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from balance_orion.emitter import Emitter


def emit(e: Emitter, node: int, operands: Sequence[Value], elements: np.ndarray) -> Value:
    """Sum of all operands, which have one number beside their cells in common."""
    del node, elements
    cells = [value.ref for value in operands if value.ref is not None]
    result = cells[0]
    for cell in cells[1:]:
        result = e.body.add(result, cell)
    return Value(result, sum(value.offset for value in operands))
