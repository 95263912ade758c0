"""Division by a positive tensor, rounded half up: floor((2x + y) / (2y)).

Chosen are q and r, and asserted 2x + y = (q + least) 2y + r, where `least` is the least quotient of the tensor. q
and r are in [0, 2^128), and so is 2y - 1 - r. y is known and in [1, 2^62], so all sides stay below 2^192, the
equation holds over the integers, and division with remainder by 2y has one solution.

A divisor that is a number is treated as in `rescale`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_orion.emitter import Value
from balance_orion.kernels import rescale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.operations import Operation
    from balance_orion.emitter import Emitter


def emit(e: Emitter, node: int, operands: Sequence[Value], elements: np.ndarray) -> Value:
    """X / y."""
    x, y = operands
    if y.ref is None:
        return rescale.by_constant(e, node, x, y.offset, elements)
    body = e.body
    least, most = e.known.ends(node)
    divisor = e.plain(y)
    double = body.add(divisor, divisor)
    _, widest = e.known.ends(e.known.model.nodes[node].inputs[1])
    q = e.checked(node, "above", elements, most - least, (least,))
    r = e.checked(node, "remainder", elements, 2 * widest - 1)
    rest = e.checked(node, "rest", elements, 2 * widest - 1)
    body.assert_add(body.add(double, -1), r, rest)
    right = body.add(body.mul(body.add(q, least), double), r)
    if x.ref is None:
        body.assert_add(right, divisor, 2 * x.offset)
    else:
        body.assert_add(right, body.add(body.add(x.ref, x.ref), divisor), 2 * x.offset)
    return Value(q, least)


def witness(
    name: str, parameters: tuple[int, ...], operation: Operation, operands: Sequence[np.ndarray], result: np.ndarray
) -> np.ndarray:
    """Return the remainder, or what it lacks to 2y - 1; for a numeric divisor that of `rescale`."""
    del operation, parameters
    x, y = operands
    if name == "rounded":
        return np.asarray(x + y // 2 - result * y)
    left = 2 * x + y - result * (2 * y)
    return np.asarray(2 * y - 1 - left if name == "rest" else left)
