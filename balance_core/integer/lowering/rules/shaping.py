"""Operators that only move elements: wires."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer.facts import Inadmissible, check_shape
from balance_core.integer.lowering.graph import Real
from balance_core.integer.lowering.node import front
from balance_core.integer.lowering.real import positions
from balance_core.integer.lowering.rules import rule

if TYPE_CHECKING:
    from balance_core.integer.lowering.node import Node, Value


def _ints(node: Node, place: int, name: str) -> tuple[int, ...] | None:
    """Return a list that older opsets have as an attribute and newer ones as a constant operand."""
    if node.has(place):
        return tuple(int(v) for v in node.constant(place).reshape(-1))
    return node.integers(name)


@rule("Identity", "Dropout")
def identity(node: Node) -> Value | list[Value | None]:
    """The operand itself; a dropout does nothing when not training."""
    if node.op == "Dropout":
        node.ignore("ratio", "seed", "is_test")
        if len(node.proto.output) > 1 and node.proto.output[1]:
            raise Inadmissible("the mask of a dropout is not supported")
        if node.has(2) and bool(node.constant(2)):
            raise Inadmissible("training mode is not supported")
    return node.value(0)


@rule("Reshape")
def reshape(node: Node) -> Value:
    """Another shape, with 0 (copy) and -1 (whatever is left)."""
    x = node.real(0)
    wanted = list(_ints(node, 1, "shape") or ())
    if not node.integer("allowzero", 0):
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    return node.reals.reshape(x, positions(x.shape).reshape(wanted).shape)


@rule("Flatten")
def flatten(node: Node) -> Value:
    """Two axes."""
    x = node.real(0)
    axis = node.integer("axis")
    axis = axis + len(x.shape) if axis < 0 else axis
    return node.reals.reshape(x, (int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:]))))


@rule("Transpose")
def transpose(node: Node) -> Value:
    """Permuted axes."""
    x = node.real(0)
    return node.reals.transpose(x, node.integers("perm") or range(len(x.shape))[::-1])


@rule("Squeeze")
def squeeze(node: Node) -> Value:
    """Without the given axes of size 1, or without all."""
    x = node.real(0)
    axes = _ints(node, 1, "axes")
    gone = {i for i, n in enumerate(x.shape) if n == 1} if axes is None else {front(a, len(x.shape)) for a in axes}
    return node.reals.reshape(x, [n for i, n in enumerate(x.shape) if i not in gone])


@rule("Unsqueeze")
def unsqueeze(node: Node) -> Value:
    """With axes of size 1 inserted."""
    x = node.real(0)
    axes = _ints(node, 1, "axes") or ()
    rank = len(x.shape) + len(axes)
    added = {front(a, rank) for a in axes}
    left = iter(x.shape)
    return node.reals.reshape(x, [1 if i in added else next(left) for i in range(rank)])


@rule("Concat")
def concat(node: Node) -> Value:
    """Joined along an axis."""
    parts = node.all_reals()
    return node.reals.concat(parts, node.axis())


@rule("Split")
def split(node: Node) -> list[Value | None]:
    """Cut along an axis into given or equal sizes."""
    x = node.real(0)
    axis = node.axis()
    sizes = _ints(node, 1, "split")
    count = node.integer("num_outputs", len(node.proto.output))
    if sizes is None:
        each = -(-x.shape[axis] // count)
        sizes = tuple(min(each, x.shape[axis] - i * each) for i in range(count))
    if sum(sizes) != x.shape[axis]:
        raise Inadmissible(f"the sizes {sizes} do not fill axis {axis} of {x.shape}")
    cuts = np.split(positions(x.shape), np.cumsum(sizes)[:-1], axis=axis)
    return [node.reals.wire(cut, x) for cut in cuts]


@rule("Slice")
def slice_(node: Node) -> Value:
    """A part along some axes, with steps."""
    x = node.real(0)
    starts, ends = _ints(node, 1, "starts") or (), _ints(node, 2, "ends") or ()
    axes = _ints(node, 3, "axes") or tuple(range(len(starts)))
    steps = tuple(int(v) for v in node.constant(4).reshape(-1)) if node.has(4) else (1,) * len(starts)
    cut = [slice(None)] * len(x.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = front(axis, len(x.shape))
        n = x.shape[place]
        if step > 0:
            cut[place] = slice(_within(start, n, 0, n), _within(end, n, 0, n), step)
        else:
            stop = _within(end, n, -1, n - 1)
            cut[place] = slice(_within(start, n, 0, n - 1), None if stop < 0 else stop, step)
    return node.reals.wire(positions(x.shape)[tuple(cut)], x)


def _within(value: int, n: int, low: int, high: int) -> int:
    return min(max(value + n if value < 0 else value, low), high)


@rule("Pad")
def pad(node: Node) -> Value:
    """Constant, edge, reflect and wrap padding."""
    x = node.real(0)
    rank = len(x.shape)
    pads = _ints(node, 1, "pads") or ()
    axes = [front(int(a), rank) for a in node.constant(3).reshape(-1)] if node.has(3) else list(range(rank))
    width = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        width[axis] = (pads[i], pads[i + len(axes)])
    cut = tuple(slice(max(0, -a), n - max(0, -b)) for (a, b), n in zip(width, x.shape, strict=True))
    width = [(max(0, a), max(0, b)) for a, b in width]
    index = positions(x.shape)[cut]
    check_shape(tuple(n + a + b for n, (a, b) in zip(index.shape, width, strict=True)))
    mode = node.text("mode", "constant")
    if mode != "constant":
        if mode not in {"edge", "reflect", "wrap"}:
            raise Inadmissible(f"mode {mode} is not supported")
        return node.reals.wire(np.pad(index, width, mode=mode), x)  # type: ignore[call-overload]  # mode is checked
    value = float(node.constant(2).reshape(())) if node.has(2) else node.number("value", 0.0)
    index = np.pad(index, width, constant_values=x.fact.size)
    filler = node.tensor(np.array([value] if not x.exact else [int(value)]))
    a, b = node.reals.common_scale([x, filler]) if value else (x, node.reals.structural(np.zeros(1), x.scale))
    exact = x.exact
    result = node.reals.wire(index, a, b)
    return Real(result.tensor, result.scale, result.fact, exact)


@rule("Expand")
def expand(node: Node) -> Value:
    """Broadcast to a shape."""
    x = node.real(0)
    wanted = [int(n) for n in node.constant(1).reshape(-1)]
    return node.reals.expand(x, np.broadcast_shapes(x.shape, tuple(wanted)))


@rule("Tile")
def tile(node: Node) -> Value:
    """Repeated along each axis."""
    x = node.real(0)
    repeats = [int(n) for n in node.constant(1)]
    check_shape(tuple(n * times for n, times in zip(x.shape, repeats, strict=True)))
    return node.reals.copies(np.tile(positions(x.shape), repeats), x)


@rule("DepthToSpace")
def depth_to_space(node: Node) -> Value:
    """Blocks of channels become blocks of pixels."""
    x = node.real(0)
    n, c, h, w = x.shape
    b = node.integer("blocksize")
    index = positions(x.shape)
    if node.text("mode", "DCR") == "DCR":
        index = index.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        index = index.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return node.reals.wire(index.reshape(n, c // b**2, h * b, w * b), x)


@rule("SpaceToDepth")
def space_to_depth(node: Node) -> Value:
    """Blocks of pixels become blocks of channels."""
    x = node.real(0)
    n, c, h, w = x.shape
    b = node.integer("blocksize")
    index = positions(x.shape)
    if node.text("mode", "DCR") == "DCR":
        index = index.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
    else:
        index = index.reshape(n, c, h // b, b, w // b, b).transpose(0, 1, 3, 5, 2, 4)
    return node.reals.wire(index.reshape(n, c * b * b, h // b, w // b), x)


@rule("Trilu")
def trilu(node: Node) -> Value:
    """The upper or lower triangle, zero elsewhere."""
    x = node.real(0)
    k = int(node.constant(1).reshape(())) if node.has(1) else 0
    keep = np.ones(x.shape, dtype=np.bool_)
    keep = np.triu(keep, k) if node.integer("upper") else np.tril(keep, k)
    zero = node.reals.structural(np.zeros(1), x.scale)
    result = node.reals.wire(np.where(keep, positions(x.shape), x.fact.size), x, zero)
    return Real(result.tensor, result.scale, result.fact, x.exact)
