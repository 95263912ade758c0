"""Division by a constant d, rounded half up: floor((2x + d) / (2d)) = floor((x + floor(d/2)) / d).

Chosen are q and r, and asserted x + floor(d/2) = (q + least) d + r, where `least` is the least quotient of the
tensor. q is in [0, 2^128) and r in [0, d - 1], so both sides stay below 2^128 d + d < 2^192: the equation holds
over the integers, and division with remainder has one solution.

The two forms of the quotient are equal since x is an integer: for odd d they differ by half a unit of x, over which
no multiple of d lies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer.operations import Rescale
from balance_orion.emitter import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.operations import Operation
    from balance_orion.body import Ref
    from balance_orion.emitter import Emitter


def emit(e: Emitter, node: int, operands: Sequence[Value], elements: np.ndarray) -> Value:
    """Divide by the operation's divisor."""
    operation = e.known.model.nodes[node].operation
    if not isinstance(operation, Rescale):
        raise TypeError(f"{operation.name} is no rescale")
    if operation.divisor == 1:
        return operands[0]
    return by_constant(e, node, operands[0], operation.divisor, elements)


def by_constant(e: Emitter, node: int, x: Value, divisor: int, elements: np.ndarray) -> Value:
    """Divide by a number; `node` is where the quotient is found."""
    body = e.body
    least, most = e.known.ends(node)
    q = e.checked(node, "above", elements, most - least, (least,))
    r, _ = e.bounded(node, "rounded", elements, divisor - 1)
    equal(e, body.add(body.mul(q, divisor), r), x, divisor // 2 - least * divisor)
    return Value(q, least)


def equal(e: Emitter, cell: Ref, x: Value, further: int) -> None:
    """Assert that a cell holds x and a further number."""
    if x.ref is None:
        e.body.assert_add(cell, e.body.constant(x.offset + further), 0)
    else:
        e.body.assert_add(cell, x.ref, x.offset + further)


def witness(
    name: str, parameters: tuple[int, ...], operation: Operation, operands: Sequence[np.ndarray], result: np.ndarray
) -> np.ndarray:
    """Return what is left of x + floor(d/2)."""
    del name, parameters
    if not isinstance(operation, Rescale):
        raise TypeError(f"{operation.name} is no rescale")
    return np.asarray(operands[0] + operation.divisor // 2 - result * operation.divisor)
