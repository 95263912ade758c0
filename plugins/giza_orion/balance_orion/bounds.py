"""Intervals of every single element, from the weights as they are: narrower than what holds for all weights.

A program holds its weights, so everything in it may rely on them: the lanes of packed sums become narrower, and so do
tables. The rules are those of the specification, applied element by element, and never wider than its intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer.facts import product_interval
from balance_core.integer.operations import (
    Add,
    Clamp,
    Constant,
    Conv2d,
    Divide,
    Input,
    Less,
    Lookup,
    MatMul,
    Max,
    Mul,
    Operation,
    Rescale,
    Sub,
    Sum,
    Wire,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.facts import Fact
    from balance_core.integer.model import IntegerModel

    Ends = tuple[np.ndarray, np.ndarray]


def element_bounds(model: IntegerModel) -> list[Ends]:
    """Return least and largest value of each element of each tensor, as int64 arrays of the tensor's shape."""
    found: list[Ends] = []
    for place, node in enumerate(model.nodes):
        fact = model.facts[place]
        if place in model.weights:
            ends = model.weights[place], model.weights[place]
        else:
            operands = [found[i] for i in node.inputs]
            facts = [model.facts[i] for i in node.inputs]
            if operands and all(np.array_equal(lo, hi) for lo, hi in operands):
                result = _run(node.operation, [lo for lo, _ in operands], facts)
                ends = result, result
            else:
                ends = _ends(node.operation, node.inputs, operands, facts, fact)
        lo = np.maximum(np.broadcast_to(ends[0], fact.shape), fact.lo)
        hi = np.minimum(np.broadcast_to(ends[1], fact.shape), fact.hi)
        found.append((lo, hi))
    return found


def _ends(  # noqa: C901, PLR0911  # one case for each operation
    op: Operation, places: Sequence[int], operands: list[Ends], facts: list[Fact], fact: Fact
) -> Ends:
    whole = np.full(fact.shape, fact.lo, dtype=np.int64), np.full(fact.shape, fact.hi, dtype=np.int64)
    match op:
        case Constant(values=values) if values is not None:
            return values, values
        case Input():
            return whole
        case Wire():
            index = op.index()
            lo, hi = (np.concatenate([ends[side].reshape(-1) for ends in operands]) for side in (0, 1))
            return lo[index], hi[index]
        case Add():
            return operands[0][0] + operands[1][0], operands[0][1] + operands[1][1]
        case Sub():
            return operands[0][0] - operands[1][1], operands[0][1] - operands[1][0]
        case Mul() if places[0] == places[1]:
            lo, hi = operands[0]
            ends = lo * lo, hi * hi
            least = np.where((lo <= 0) & (hi >= 0), 0, np.minimum(*ends))
            return least, np.maximum(*ends)
        case Mul():
            return _corners(operands, lambda x, y: x * y)
        case Divide():
            return _corners(operands, lambda x, y: (2 * x + y) // (2 * y))
        case Less():
            (xl, xh), (yl, yh) = operands
            return (xh < yl).astype(np.int64), (xl < yh).astype(np.int64)
        case Sum() | Max() | Rescale() | Clamp():
            return _run(op, [operands[0][0]], facts), _run(op, [operands[0][1]], facts)
        case Lookup():
            return _entries(op, operands[0])
        case MatMul() | Conv2d():
            return _linear(op, operands, facts, whole)
    return whole


def _run(op: Operation, arrays: list[np.ndarray], facts: list[Fact]) -> np.ndarray:
    return np.asarray(op.run([np.ascontiguousarray(array)[None] for array in arrays], facts)[0])


def _corners(operands: list[Ends], combine: object) -> Ends:
    (xl, xh), (yl, yh) = operands
    corners = [combine(x, y) for x in (xl, xh) for y in (yl, yh)]  # type: ignore[operator]
    return np.minimum.reduce(corners), np.maximum.reduce(corners)


def _entries(op: Lookup, ends: Ends) -> Ends:
    """Return least and largest entry of each span of the table, once for each different span."""
    spans, inverse = np.unique(np.stack([ends[0].reshape(-1), ends[1].reshape(-1)]), axis=1, return_inverse=True)
    reached = [op.table[lo - op.first : hi - op.first + 1] for lo, hi in spans.T]
    inverse = inverse.reshape(ends[0].shape)
    return (
        np.array([part.min() for part in reached], dtype=np.int64)[inverse],
        np.array([part.max() for part in reached], dtype=np.int64)[inverse],
    )


def _linear(op: MatMul | Conv2d, operands: list[Ends], facts: list[Fact], whole: Ends) -> Ends:
    """Bound sums of products with constants term by term, and others by their number of terms."""
    for side in (1, 0):
        lo, hi = operands[side]
        if not np.array_equal(lo, hi):
            continue
        other = operands[1 - side]
        rising, falling = np.maximum(lo, 0), np.minimum(lo, 0)

        def product(moving: np.ndarray, fixed: np.ndarray, side: int = side) -> np.ndarray:
            return _run(op, [moving, fixed] if side else [fixed, moving], facts)

        return (
            product(other[0], rising) + product(other[1], falling),
            product(other[1], rising) + product(other[0], falling),
        )
    (xl, xh), (yl, yh) = operands
    low, high = product_interval((int(xl.min()), int(xh.max())), (int(yl.min()), int(yh.max())))
    if isinstance(op, Conv2d):
        low, high = min(low, 0), max(high, 0)
    terms = facts[0].shape[-1] if isinstance(op, MatMul) else int(np.prod(facts[1].shape[1:]))
    return np.full_like(whole[0], low * terms), np.full_like(whole[1], high * terms)
