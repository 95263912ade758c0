"""Pools: windows are wired out, then reduced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer.facts import Inadmissible, check_shape
from balance_core.integer.lowering.rules import rule
from balance_core.integer.lowering.rules.linear import padding

if TYPE_CHECKING:
    from balance_core.integer.lowering.node import Node, Value


def windows(node: Node) -> np.ndarray:
    """Return the position in each window of the operand, -1 outside: shape [window, N, C, outputs ...]."""
    shape = node.shape(0)
    size = shape[2:]
    kernel = node.integers("kernel_shape")
    if kernel is None or len(kernel) != len(size):
        raise Inadmissible("attribute kernel_shape does not fit the operand")
    strides, dilations = node.integers("strides") or (1,) * len(size), node.integers("dilations") or (1,) * len(size)
    pads = padding(node, size, kernel, strides, dilations)
    ceil = bool(node.integer("ceil_mode", 0))
    if node.text("auto_pad", "NOTSET") not in {"NOTSET", ""}:
        ceil = False
    index: np.ndarray = np.zeros((1,) * (2 * len(size)), dtype=np.int64)
    inside: np.ndarray = np.ones((1,) * (2 * len(size)), dtype=np.bool_)
    rank = len(size)
    for axis, (n, k, s, d) in enumerate(zip(size, kernel, strides, dilations, strict=True)):
        begin, end = pads[axis], pads[axis + rank]
        span = n + begin + end - (k - 1) * d - 1
        if span < 0:
            raise Inadmissible("the window is larger than the padded operand")
        count = (-(-span // s) if ceil else span // s) + 1
        if ceil and (count - 1) * s >= n + begin:  # a window must start inside the operand or its front pad
            count -= 1
        check_shape((index.size, k, count))
        at = np.arange(k)[:, None] * d + np.arange(count)[None, :] * s - begin
        place = [1] * (2 * rank)
        place[axis], place[rank + axis] = k, count
        index = index * n + np.clip(at, 0, n - 1).reshape(place)
        inside = inside & ((at >= 0) & (at < n)).reshape(place)
    flat = np.where(inside, index, -1).reshape(int(np.prod(kernel)), 1, 1, *index.shape[rank:])
    images = np.arange(shape[0] * shape[1], dtype=np.int64).reshape(1, shape[0], shape[1], *(1,) * rank)
    return np.where(flat >= 0, flat + images * int(np.prod(size)), -1)


@rule("MaxPool")
def max_pool(node: Node) -> list[Value | None]:
    """The largest of each window; a place outside stands for another one of the same window."""
    r = node.reals
    column_major = bool(node.integer("storage_order", 0))
    index = windows(node)
    if (index.max(axis=0) < 0).any():
        raise Inadmissible("a window lies wholly in the padding")
    index = np.where(index < 0, index.max(axis=0), index)
    wired = r.wire(index, r.narrow(node.real(0)))
    result = r.max(wired, [0])
    results: list[Value | None] = [r.reshape(result, result.shape[1:])]
    if any(node.proto.output[1:]):
        if column_major:
            h, w = node.shape(0)[-2:]
            image, pixel = np.divmod(index, h * w)
            index = image * h * w + (pixel % w) * h + pixel // w
        places = r.structural(np.arange(len(index)).reshape(-1, *(1,) * (index.ndim - 1)))
        hit = r.equal(places, r.argmax(wired, 0))
        chosen = r.mul_exact(hit, r.integers(index))
        found = r.clamp(r.sum(chosen, [0]), 0, int(index.max()))
        results.append(r.reshape(found, found.shape[1:]))
    return results


@rule("AveragePool", precision=8)
def average_pool(node: Node) -> Value:
    """The mean of each window; the scale takes the division where all windows are equally full."""
    r = node.reals
    index = windows(node)
    include = bool(node.integer("count_include_pad", 0))
    x = r.narrow(node.real(0))
    counts = included(node) if include else (index >= 0).sum(axis=0)
    if (index < 0).any():
        zero = r.structural(np.zeros((1,)), x.scale)
        wired = r.wire(np.where(index < 0, x.fact.size, index), x, zero)
    else:
        wired = r.wire(index, x)
    total = r.sum(wired, [0])
    total = r.reshape(total, total.shape[1:])
    return r.mul_constant(total, 1 / np.broadcast_to(counts, total.shape).astype(np.float64))


def included(node: Node) -> np.ndarray:
    """Count the places of each window inside the padded operand: ceil_mode windows may reach beyond it."""
    size = node.shape(0)[2:]
    kernel = node.integers("kernel_shape") or ()
    strides, dilations = node.integers("strides") or (1,) * len(size), node.integers("dilations") or (1,) * len(size)
    pads = padding(node, size, kernel, strides, dilations)
    counts: np.ndarray = np.ones((1,) * len(size))
    outputs = windows(node).shape[3:]
    for axis, (n, k, s, d) in enumerate(zip(size, kernel, strides, dilations, strict=True)):
        at = np.arange(k)[:, None] * d + np.arange(outputs[axis])[None, :] * s - pads[axis]
        place = [1] * len(size)
        place[axis] = outputs[axis]
        counts = counts * (at < n + pads[axis + len(size)]).sum(axis=0).reshape(place)
    return counts[None, None]


@rule("GlobalAveragePool")
def global_average_pool(node: Node) -> Value:
    """The mean over all spatial axes."""
    x = node.reals.narrow(node.real(0))
    return node.reals.mean(x, range(2, len(x.shape)))


@rule("GlobalMaxPool")
def global_max_pool(node: Node) -> Value:
    """The largest over all spatial axes."""
    x = node.real(0)
    return node.reals.max(x, range(2, len(x.shape)))
