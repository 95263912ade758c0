"""A table in the program's own memory: the result is read at the table's place plus the index.

The pointer is the program's address plus a number plus x, and x is known, so that by its interval the pointer stands
in the table. There is nothing to choose. Chains of operations on one small value become one such table, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.integer.operations import Lookup
from balance_orion.emitter import Value
from balance_orion.machine import REACH

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from balance_orion.emitter import Emitter


def emit(e: Emitter, node: int, operands: Sequence[Value], elements: np.ndarray) -> Value:
    """Entry of x in the operation's table, of which only what can be reached is kept."""
    del elements
    operation = e.known.model.nodes[node].operation
    if not isinstance(operation, Lookup):
        raise TypeError(f"{operation.name} is no lookup")
    lo, hi = e.known.ends(e.known.model.nodes[node].inputs[0])
    return read(e, operands[0], lo, operation.table[lo - operation.first : hi - operation.first + 1])


def read(e: Emitter, x: Value, first: int, table: np.ndarray) -> Value:
    """Entry of x in a table that begins at `first`."""
    if x.ref is None:
        return Value(None, int(table[x.offset - first]), uniform=False)
    place = e.known.code.store(table.tolist())
    shift = x.offset - first
    if shift >= 0:
        place, shift = place + shift, 0
    cell = x.ref
    if shift < -REACH:
        cell, shift = e.body.add(cell, shift), 0
    pointer = e.body.add(e.body.table(place), cell)
    return Value(e.body.entry(pointer, shift, int(table.min()), int(table.max())))
