"""From a stage's nodes to bodies: how many elements one turn makes, and what is done for each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

import numpy as np

from balance_core.integer.operations import ArgMax, Max, Sum
from balance_orion.body import Column
from balance_orion.emitter import Emitter, Knowledge, Value
from balance_orion.kernels import KERNELS, lookup
from balance_orion.layers import WORD, Step, steps_for
from balance_orion.witness import reduced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.model import IntegerModel

LARGEST_UNROLLED = 4_000
"""Most cells of one turn of element-wise work: more would make the program longer for little."""


@dataclass(frozen=True)
class Part:
    """One body with its results: for each lane (column of `elements`) the values of tensors."""

    emitter: Emitter
    elements: np.ndarray
    """[turns, lanes]."""
    lanes: list[dict[int, Value]]


class Shop(Protocol):
    """What parts need of the generator."""

    model: IntegerModel
    known: Knowledge
    uses: list[int]

    def copied(self, tensor: int, picture: np.ndarray | None = None) -> int:
        """Copy a tensor."""
        ...


def element_parts(shop: Shop, members: Sequence[int]) -> list[Part]:
    """Return the body of a stage that begins with an element-wise node or a reduction."""
    steps = steps_for(shop.known, list(members), shop.uses)
    size = shop.model.facts[members[0]].size
    per_turn = _unroll(shop, members, steps, size)
    elements = np.arange(size, dtype=np.int64).reshape(-1, per_turn)
    e = Emitter(shop.known, len(elements))
    return [Part(e, elements, [run_steps(e, steps, {}, lane) for lane in elements.T])]


def run_steps(e: Emitter, steps: Sequence[Step], values: dict[int, Value], elements: np.ndarray) -> dict[int, Value]:
    """Write the code of one element of each turn; returns the values of all nodes that were computed."""
    known = e.known
    for step in steps:
        node = known.model.nodes[step.node]
        if step.kind == "alias":
            values[step.node] = values[step.source]
        elif step.table is not None:
            source = values.get(step.source)
            if source is None:
                source = e.operand(step.source, spread(known, step.source, step.node)[elements])
            values[step.node] = lookup.read(e, source, step.first, step.table)
        else:
            operands = _operands(e, step.node, values, elements)
            values[step.node] = KERNELS[type(node.operation)].emit(e, step.node, operands, elements)
    return values


def _operands(e: Emitter, place: int, values: dict[int, Value], elements: np.ndarray) -> list[Value]:
    node = e.known.model.nodes[place]
    if isinstance(node.operation, (Sum, Max, ArgMax)):
        chosen = reduced(node.operation, e.known.model.facts[node.inputs[0]].shape)[elements]
        return [e.operand(node.inputs[0], column) for column in chosen.T]
    return [values[i] if i in values else e.operand(i, spread(e.known, i, place)[elements]) for i in node.inputs]


def spread(known: Knowledge, operand: int, place: int) -> np.ndarray:
    """Return the element of an operand that each element of a result reads."""
    fact, shape = known.model.facts[operand], known.model.facts[place].shape
    if fact.size == known.model.facts[place].size:
        return np.arange(fact.size, dtype=np.int64)
    own = np.arange(fact.size, dtype=np.int64).reshape(fact.shape)
    return np.broadcast_to(own, shape).reshape(-1)


def _unroll(shop: Shop, members: Sequence[int], steps: Sequence[Step], size: int) -> int:
    """Choose how many elements one turn makes: loops cost pointers, long code costs words."""
    trial = Emitter(shop.known, 1)
    run_steps(trial, steps, {}, np.zeros(1, dtype=np.int64))
    each = max(1, len(trial.body.ops))
    if size * each <= LARGEST_UNROLLED // 64:
        return size
    reads = _reads(shop, members)
    shape = shop.model.facts[members[0]].shape
    tails = [1, *accumulate(reversed(shape), lambda a, b: a * b)]
    candidates = {tail * n for tail in tails for n in (1, 2, 4, 7, 8, 14) if size % (tail * n) == 0}
    candidates = {n for n in candidates if n * each <= LARGEST_UNROLLED} or {1}
    return int(min(candidates, key=lambda n: (_price(reads, n, size, each), n)))


def _reads(shop: Shop, members: Sequence[int]) -> list[np.ndarray]:
    """Return where each external operand's elements are, [elements] or [elements, operands]."""
    inside = set(members)
    reads = []
    for place in members:
        node = shop.model.nodes[place]
        for operand in node.inputs:
            view = shop.known.views.get(operand)
            if operand in inside or view is None:
                continue
            steady = view.space == "constant"
            if steady and (view.addresses == view.addresses[0]).all():
                continue
            if isinstance(node.operation, (Sum, Max, ArgMax)):
                chosen = reduced(node.operation, shop.model.facts[operand].shape)
            else:
                chosen = spread(shop.known, operand, place)[:, None]
            reads.append(chosen if steady else view.addresses[chosen])
    return reads


def _price(reads: Sequence[np.ndarray], per_turn: int, size: int, each: int) -> float:
    turns = size // per_turn
    if turns == 1:
        return size * each * (1 + WORD)
    kinds: dict[bytes, bool] = {}
    for array in reads:
        columns = array.reshape(turns, -1)
        for moves in np.unique((columns - columns[:1]).T, axis=0):
            if moves.any():
                kinds[moves.tobytes()] = len(np.unique(np.diff(moves))) == 1
    irregular = sum(not regular for regular in kinds.values())
    pointers = len(kinds) - irregular + 3 * irregular + 3
    return turns * (pointers + WORD * irregular) + WORD * per_turn * each + size * each


def output_parts(shop: Shop, results: Sequence[int], first: int) -> list[Part]:
    """Return bodies that write the results behind the inputs, in the order of the model's outputs."""
    parts = []
    for tensor in results:
        size = shop.model.facts[tensor].size
        per_turn = next(n for n in range(min(size, 256), 0, -1) if size % n == 0)
        elements = np.arange(size, dtype=np.int64).reshape(-1, per_turn)
        e = Emitter(shop.known, len(elements))
        for lane in elements.T:
            value = e.operand(tensor, lane)
            target = Column("output", first + lane, 0, 0)
            e.body.store(e.plain(value) if value.ref is not None else e.body.push(value.offset), target)
        parts.append(Part(e, elements, [{} for _ in range(per_turn)]))
        first += size
    return parts
