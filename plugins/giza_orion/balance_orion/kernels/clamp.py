"""Saturation to [lo, hi].

Only ends that the operand's interval crosses cost anything. With p, n, o, u in [0, 2^128):

- lower end alone: x - lo = p - n and p n = 0; the result is lo + p. The product of two integers below 2^128 is not a
  multiple of the field's order unless one of them is 0, so p = max(x - lo, 0).
- upper end alone: x - hi = p - n and p n = 0; the result is x - p.
- both: y = lo + p with p in [0, hi - lo] and t = hi - lo - p; x + u = y + o, u p = 0 and o t = 0. If u > 0 then
  p = 0, so t > 0 and o = 0, and x = lo - u < lo. If o > 0 then t = 0, so p > 0 and u = 0, and x = hi + o > hi. Else
  x = y. As lo < hi (otherwise the result is a constant), the cases exclude each other, and y is the clamped x.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer.operations import Clamp
from balance_orion.emitter import Value
from balance_orion.kernels.rescale import equal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.operations import Operation
    from balance_orion.emitter import Emitter


def emit(e: Emitter, node: int, operands: Sequence[Value], elements: np.ndarray) -> Value:
    """Clamp x, whose interval decides which ends matter."""
    operation = e.known.model.nodes[node].operation
    if not isinstance(operation, Clamp):
        raise TypeError(f"{operation.name} is no clamp")
    x = operands[0]
    least, most = e.known.ends(e.known.model.nodes[node].inputs[0])
    lo, hi = operation.lo, operation.hi
    body = e.body
    cell = body.constant(x.offset) if x.ref is None else x.ref
    offset = 0 if x.ref is None else x.offset
    if least >= lo and most <= hi:
        return x
    if least >= lo or most <= hi:
        end = lo if most <= hi else hi
        over = e.checked(node, "over", elements, max(most - end, 0), (end,))
        under = e.checked(node, "under", elements, max(end - least, 0), (end,))
        body.assert_mul(body.constant(0), over, under)
        equal(e, over, Value(body.add(cell, under), offset), -end)
        return Value(over, end) if most <= hi else Value(body.sub(cell, over), offset)
    inside, rest = e.bounded(node, "inside", elements, hi - lo, (lo, hi))
    over = e.checked(node, "over", elements, most - hi, (hi,))
    under = e.checked(node, "under", elements, lo - least, (lo,))
    body.assert_mul(body.constant(0), under, inside)
    body.assert_mul(body.constant(0), over, rest)
    equal(e, body.add(inside, over), Value(body.add(cell, under), offset), -lo)
    return Value(inside, lo)


def witness(
    name: str, parameters: tuple[int, ...], operation: Operation, operands: Sequence[np.ndarray], result: np.ndarray
) -> np.ndarray:
    """Return how far x is over or under an end, or the result's height over the lower one."""
    del operation, result
    x = operands[0]
    if name == "over":
        return np.asarray(np.maximum(x - parameters[0], 0))
    if name == "under":
        return np.asarray(np.maximum(parameters[0] - x, 0))
    return np.asarray(np.clip(x, parameters[0], parameters[1]) - parameters[0])
