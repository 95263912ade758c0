"""Maximum of n values.

Chosen are the gaps g_i in [0, 2^128), and asserted x_i + g_i = m for all i, with m = x_1 + g_1, and that the
product of all gaps is 0. The field has no divisors of zero and gaps are below its order, so one gap is 0: m is one
of the values, and none is larger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_orion.emitter import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.operations import Operation
    from balance_orion.body import Ref
    from balance_orion.emitter import Emitter


def emit(e: Emitter, node: int, operands: Sequence[Value], elements: np.ndarray) -> Value:
    """Largest of the operands, which have one number beside their cells in common."""
    if len(operands) == 1:
        return operands[0]
    least, most = e.known.ends(e.known.model.nodes[node].inputs[0])
    cells = [value.ref for value in operands if value.ref is not None]
    top = largest(e, node, cells, elements, (most - least, 1))
    return Value(top, operands[0].offset)


def largest(e: Emitter, node: int, cells: Sequence[Ref], elements: np.ndarray, gap: tuple[int, int]) -> Ref:
    """Return a cell with the largest of known cells; `gap` is the largest gap and the factor of the keys."""
    widest, factor = gap
    body = e.body
    product: Ref | None = None
    top: Ref | None = None
    for number, cell in enumerate(cells):
        distance = e.checked(node, "gap", elements * len(cells) + number, widest, (factor,))
        if top is None:
            top = body.add(cell, distance)
        else:
            body.assert_add(top, cell, distance)
        if product is None:
            product = distance
        elif number < len(cells) - 1:
            product = body.mul(product, distance)
        else:
            body.assert_mul(body.constant(0), product, distance)
    if top is None:
        raise ValueError("there is nothing to take the largest of")
    return top


def witness(
    name: str, parameters: tuple[int, ...], operation: Operation, operands: Sequence[np.ndarray], result: np.ndarray
) -> np.ndarray:
    """Return the gap of each operand, for one result after the other."""
    del name, parameters, operation
    return np.asarray(result[:, None] - operands[0])
