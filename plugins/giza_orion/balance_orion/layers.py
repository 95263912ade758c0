"""Which nodes share a stage, and how: fused chains, and chains of operations on a small value as one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer.operations import (
    Add,
    Clamp,
    Divide,
    Less,
    Lookup,
    Mul,
    Operation,
    Rescale,
    Sub,
    Wire,
)

if TYPE_CHECKING:
    from balance_core.integer.model import IntegerModel
    from balance_orion.emitter import Knowledge

ELEMENTWISE = (Add, Clamp, Divide, Less, Lookup, Mul, Rescale, Sub)
MAX_MEMBERS = 48
"""Most nodes of one stage."""
MAX_TABLE = 2**16
"""Largest table made of a chain."""
STEPS: dict[type[Operation], int] = {
    Add: 1, Clamp: 9, Divide: 9, Less: 8, Lookup: 2, Mul: 1, Rescale: 7, Sub: 1
}  # fmt: skip
"""Steps of one element, roughly."""
WORD = 4.0
"""What a word of the program costs, in steps: it is part of the proof and of the committed memory."""


@dataclass(frozen=True)
class Step:
    """What is done for one element: an operation, another name for a value, or a table for a whole chain."""

    kind: str
    """`kernel`, `alias` or `table`."""
    node: int
    source: int = 0
    first: int = 0
    table: np.ndarray | None = None


def uses_of(model: IntegerModel) -> list[int]:
    """Return how often each tensor is read; being an output counts."""
    uses = [0] * len(model.nodes)
    for node in model.nodes:
        for place in node.inputs:
            uses[place] += 1
    for output in model.outputs:
        uses[output.tensor] += 1
    return uses


def is_renaming(model: IntegerModel, place: int) -> bool:
    """Whether a node is a wire that keeps one tensor's elements as they are."""
    node = model.nodes[place]
    if not isinstance(node.operation, Wire) or len(node.inputs) != 1:
        return False
    size = model.facts[place].size
    if model.facts[node.inputs[0]].size != size:
        return False
    index = node.operation.index().reshape(-1)
    return bool((index == np.arange(size)).all())


def unary_operand(known: Knowledge, place: int) -> int | None:
    """Return the operand on which alone a node depends, if there is just one and it is element by element."""
    node = known.model.nodes[place]
    if isinstance(node.operation, (Rescale, Clamp, Lookup)):
        return node.inputs[0]
    if not isinstance(node.operation, (Add, Sub, Mul, Divide, Less)):
        return None
    moving = []
    for operand in node.inputs:
        view = known.views.get(operand)
        if view is None or view.space != "constant":
            moving.append(operand)
        elif (view.addresses != view.addresses[0]).any():
            return None
    size = known.model.facts[place].size
    return moving[0] if len(moving) == 1 and known.model.facts[moving[0]].size == size else None


def steps_for(known: Knowledge, members: list[int], uses: list[int]) -> list[Step]:
    """Return what to do for each element of a stage, in order; `members` are the nodes that are left to do."""
    steps: list[Step] = []
    inside = set(members)
    done: set[int] = set()
    for place in members:
        if place in done:
            continue
        if isinstance(known.model.nodes[place].operation, Wire):
            steps.append(Step("alias", place, known.model.nodes[place].inputs[0]))
            continue
        chain = _chain(known, place, inside, uses)
        table = _table(known, chain) if chain else None
        if table is not None:
            steps.append(table)
            done.update(chain)
        else:
            steps.append(Step("kernel", place))
    return steps


def _chain(known: Knowledge, start: int, inside: set[int], uses: list[int]) -> list[int]:
    """Return the longest chain of unary nodes from `start` on, each of which only the next one reads."""
    if unary_operand(known, start) is None:
        return []
    chain = [start]
    while uses[chain[-1]] == 1:
        readers = [m for m in inside if chain[-1] in known.model.nodes[m].inputs]
        if len(readers) != 1:
            break
        reader = readers[0]
        if is_renaming(known.model, reader) or unary_operand(known, reader) == chain[-1]:
            chain.append(reader)
        else:
            break
    return chain


def _table(known: Knowledge, chain: list[int]) -> Step | None:
    """Return the table of a chain, if it is cheaper than the chain itself."""
    model = known.model
    source = unary_operand(known, chain[0])
    if source is None:
        return None
    lo, hi = known.ends(source)
    operations = [model.nodes[place].operation for place in chain]
    size = model.facts[chain[0]].size
    plain = size * sum(STEPS.get(type(op), 0) for op in operations)
    plain += int(WORD * sum(op.table.size for op in operations if isinstance(op, Lookup)))
    if hi - lo >= MAX_TABLE or size * 2 + WORD * (hi - lo + 1) >= plain:
        return None
    values = np.arange(lo, hi + 1, dtype=np.int64)
    for place in chain:
        values = _applied(known, place, values)
    return Step("table", chain[-1], source, lo, values)


def _applied(known: Knowledge, place: int, values: np.ndarray) -> np.ndarray:
    """Run one unary node on all values of its operand's interval; those that cannot come may become anything."""
    node = known.model.nodes[place]
    if isinstance(node.operation, Wire):
        return values
    moving = unary_operand(known, place)
    arrays = []
    for operand in node.inputs:
        if operand == moving:
            lo, hi = known.ends(operand)
            arrays.append(np.clip(values, lo, hi))
        else:
            arrays.append(np.full_like(values, known.views[operand].addresses[0]))
    result = node.operation.run(arrays, [known.model.facts[i] for i in node.inputs])
    return np.asarray(result)
