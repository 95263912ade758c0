"""Reductions over axes, and positions of extremes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer.facts import Inadmissible
from balance_core.integer.lowering.functions import GUARD, log_sum_exp, square_root
from balance_core.integer.lowering.graph import Real
from balance_core.integer.lowering.node import Curve, front
from balance_core.integer.lowering.rules import rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_core.integer.lowering.node import Node, Value
    from balance_core.integer.lowering.real import Reals

AXES_ARE_INPUTS_FROM = {"ReduceSum": 13}
"""The opset from which the axes of a reduction are an operand; 18 for all others."""


PLAIN: dict[str, Callable[[Reals, Real, tuple[int, ...]], Value]] = {
    "ReduceLogSum": lambda r, x, axes: Curve(r.sum(x, axes), lambda v: v.ln()),
    "ReduceLogSumExp": lambda r, x, axes: r.add(*log_sum_exp(r, r.narrow(x, min(16, r.bits + GUARD)), axes)),
    "ReduceMax": lambda r, x, axes: r.max(x, axes),
    "ReduceMean": lambda r, x, axes: r.mean(r.narrow(x), axes),
    "ReduceMin": lambda r, x, axes: r.min(x, axes),
    "ReduceSum": lambda r, x, axes: r.sum(x, axes),
}


def axes_of(node: Node, rank: int) -> tuple[int, ...]:
    """Return the axes to reduce: given, all, or none."""
    empty_is_none = bool(node.integer("noop_with_empty_axes", 0))
    if node.opset >= AXES_ARE_INPUTS_FROM.get(node.op, 18):
        given = tuple(int(a) for a in node.constant(1).reshape(-1)) if node.has(1) else ()
    else:
        given = node.integers("axes") or ()
    if not given:
        return () if empty_is_none else tuple(range(rank))
    return tuple(sorted({front(a, rank) for a in given}))


@rule("ReduceProd", precision=32)
@rule("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")
@rule("ReduceSumSquare")
def reduce(node: Node) -> Value:
    """All reductions, with or without the reduced axes."""
    r = node.reals
    x = node.real(0)
    axes = axes_of(node, len(x.shape))
    keep = bool(node.integer("keepdims", 1))
    result = _reduced(node, x, axes)
    if keep or not axes:
        return result
    flat = node.tensor(result)
    return r.reshape(flat, [n for i, n in enumerate(flat.shape) if i not in axes])


def _reduced(node: Node, x: Real, axes: tuple[int, ...]) -> Value:
    """Reduce over axes that stay as size 1."""
    r = node.reals
    if node.op in PLAIN:
        return PLAIN[node.op](r, x, axes)
    if node.op == "ReduceProd":
        return product(node, x, axes)
    total = r.sum(magnitude(node, x) if node.op == "ReduceL1" else r.square(x), axes)
    return square_root(r, total) if node.op == "ReduceL2" else total


def magnitude(node: Node, x: Real) -> Real:
    """|x|."""
    r = node.reals
    x = r.narrow(x)
    result = r.max(r.stack([x, r.negate(x)]), [0])
    return r.clamp(r.reshape(result, result.shape[1:]), 0, max(0, result.fact.hi))


def product(node: Node, x: Real, axes: tuple[int, ...]) -> Real:
    """The product along the axes, two at a time."""
    r = node.reals
    if not axes:
        return x
    rest = [i for i in range(len(x.shape)) if i not in axes]
    count = int(np.prod([x.shape[a] for a in axes]))
    shape = [1 if i in axes else n for i, n in enumerate(x.shape)]
    flat = r.reshape(r.transpose(x, [*axes, *rest]), (count, *(x.shape[i] for i in rest)))
    parts = [r.reshape(r.pick(flat, i), shape) for i in range(count)]
    while len(parts) > 1:
        pairs = [r.mul(parts[i], parts[i + 1]) for i in range(0, len(parts) - 1, 2)]
        parts = [*pairs, *parts[len(pairs) * 2 :]]
    return parts[0]


@rule("ArgMax", "ArgMin")
def arg_extreme(node: Node) -> Value:
    """The first (or last) position of the largest (or smallest) value."""
    r = node.reals
    x = node.real(0)
    axis = node.axis()
    last = bool(node.integer("select_last_index", 0))
    if node.op == "ArgMin":
        x = r.negate(x)
    size = x.shape[axis]
    if last:
        x = r.wire(np.flip(np.arange(x.fact.size).reshape(x.shape), axis), x)
    result = r.argmax(x, axis)
    if last:
        end = r.structural(np.full((1,) * len(x.shape), size - 1))
        result = r.sub(Real(end.tensor, end.scale, end.fact, exact=True), result)
        result = r.clamp(result, 0, size - 1)
    if node.integer("keepdims", 1):
        return result
    return r.reshape(result, [n for i, n in enumerate(result.shape) if i != axis])


@rule("Hardmax")
def hardmax(node: Node) -> Value:
    """1 at the first largest position, else 0."""
    if node.opset < 13:
        raise Inadmissible("Hardmax before opset 13 is not supported")
    r = node.reals
    x = node.real(0)
    axis = node.axis()
    best = r.argmax(x, axis)
    place = r.structural(np.arange(x.shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(x.shape))]))
    return r.equal(place, best)
