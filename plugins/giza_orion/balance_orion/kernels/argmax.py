"""Position of the first maximum of n values.

The keys k_i = n x_i + (n - 1 - i) are all different, and their order is that of the values, ties falling to the lower
position. Their largest k is found as in `maximum`. Then k = n v + s with s in [0, n - 1] and v in [0, 2^128) above
the least value: division with remainder has one solution, as in `rescale`, and n - 1 - s is the position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_orion.emitter import Value
from balance_orion.kernels.maximum import largest
from balance_orion.kernels.rescale import equal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.operations import Operation
    from balance_orion.emitter import Emitter


def emit(e: Emitter, node: int, operands: Sequence[Value], elements: np.ndarray) -> Value:
    """Position of the largest operand; they have one number beside their cells in common, which does not matter."""
    body, count = e.body, len(operands)
    least, most = e.known.ends(e.known.model.nodes[node].inputs[0])
    offset = operands[0].offset
    cells = [value.ref for value in operands if value.ref is not None]
    keys = [body.add(body.mul(cell, count), count - 1 - number) for number, cell in enumerate(cells)]
    top = largest(e, node, keys, elements, ((most - least) * count + count - 1, count))
    value = e.checked(node, "largest", elements, most - least, (least,))
    position, behind = e.bounded(node, "position", elements, count - 1)
    equal(e, body.add(body.mul(value, count), behind), Value(top), -(least - offset) * count)
    return Value(position)


def witness(
    name: str, parameters: tuple[int, ...], operation: Operation, operands: Sequence[np.ndarray], result: np.ndarray
) -> np.ndarray:
    """Return the gaps of the keys, the largest value above the least one, or the position."""
    del operation
    x = operands[0]
    count = x.shape[1]
    if name == "position":
        return result
    if name == "largest":
        return np.asarray(x.max(axis=1) - parameters[0])
    keys = x * count + (count - 1 - np.arange(count))
    return np.asarray(keys.max(axis=1)[:, None] - keys)
