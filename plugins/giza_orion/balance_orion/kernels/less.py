"""Comparison: 1 if x < y, else 0.

Let D = x - y, known and in [-C, C - 1] for a number C of the program. Chosen are z and e, and asserted
e = D + z C with z in [0, 2^128) and e in [0, C - 1]. Both sides are below 2^192, so this is the division of -D by C
over the integers: z = 1 exactly if D < 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_orion.emitter import Value
from balance_orion.kernels import sub
from balance_orion.kernels.rescale import equal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.operations import Operation
    from balance_orion.emitter import Emitter


def emit(e: Emitter, node: int, operands: Sequence[Value], elements: np.ndarray) -> Value:
    """X < y."""
    places = e.known.model.nodes[node].inputs
    (xl, xh), (yl, yh) = (e.known.ends(place) for place in places)
    size = max(yh - xl, xh - yl + 1, 1)
    difference = sub.emit(e, node, operands, elements)
    z = e.checked(node, "above", elements, 1, (0,))
    rest, _ = e.bounded(node, "rest", elements, size - 1, (size,))
    borrowed = e.body.mul(z, size)
    if difference.ref is None:
        equal(e, rest, Value(borrowed), difference.offset)
    elif difference.offset:
        equal(e, rest, Value(e.body.add(borrowed, difference.ref)), difference.offset)
    else:
        e.body.assert_add(rest, borrowed, difference.ref)
    return Value(z)


def witness(
    name: str, parameters: tuple[int, ...], operation: Operation, operands: Sequence[np.ndarray], result: np.ndarray
) -> np.ndarray:
    """Return D + z C."""
    del name, operation
    return np.asarray(operands[0] - operands[1] + result * parameters[0])
