"""Gathering: a wire for a constant index, a one-hot product for an index that the input decides."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer.facts import Inadmissible, check_shape
from balance_core.integer.lowering.graph import Real
from balance_core.integer.lowering.node import front
from balance_core.integer.lowering.real import positions
from balance_core.integer.lowering.rules import ML, rule
from balance_core.integer.lowering.rules.logic import hits

if TYPE_CHECKING:
    from balance_core.integer.lowering.node import Node, Value

MAX_ONE_HOT = 2**22
"""Most elements of a one-hot index."""


def _within(index: np.ndarray, size: int) -> np.ndarray:
    """Return indices from the front; raises Inadmissible outside the axis."""
    at = np.where(index < 0, index + size, index)
    if at.size and (at.min() < 0 or at.max() >= size):
        raise Inadmissible(f"a constant index is outside the axis of size {size}")
    return at


@rule("Gather")
def gather(node: Node) -> Value:
    """Slices along an axis."""
    x = node.real(0)
    axis = node.axis()
    if node.is_constant(1):
        index = _within(node.constant(1), x.shape[axis])
        return node.reals.wire(np.take(positions(x.shape), index, axis=axis), x)
    return variable_gather(node, x, node.real(1), axis)


def variable_gather(node: Node, x: Real, index: Real, axis: int) -> Real:
    """Multiply a one-hot index with the slices: exactly one product is not zero."""
    r = node.reals
    size = x.shape[axis]
    if index.fact.size * size > MAX_ONE_HOT:
        raise Inadmissible(f"an index of {index.fact.size} elements over {size} slices is too large a one-hot matrix")
    flat = r.reshape(index, (index.fact.size,))
    low = -size if index.fact.lo < 0 else 0
    hit = hits(node, r.clamp(flat, low, size - 1), size, 1)
    rest = [i for i in range(len(x.shape)) if i != axis]
    table = r.reshape(r.transpose(x, [axis, *rest]), (size, x.fact.size // size))
    if not x.exact:
        table = r.narrow(table)
    product = r.matmul(Real(hit.tensor, hit.scale, hit.fact, exact=True), table)
    product = r.clamp(product, min(table.fact.lo, 0), max(table.fact.hi, 0))
    shaped = r.reshape(product, (*index.shape, *(x.shape[i] for i in rest)))
    order = list(range(len(shaped.shape)))
    moved = [
        *order[len(index.shape) : len(index.shape) + axis],
        *order[: len(index.shape)],
        *order[len(index.shape) + axis :],
    ]
    result = r.transpose(shaped, moved)
    return Real(result.tensor, result.scale, result.fact, x.exact)


@rule("GatherElements")
def gather_elements(node: Node) -> Value:
    """Elements along an axis, each by an index of its own."""
    x = node.real(0)
    r = node.reals
    axis = node.axis()
    if node.is_constant(1):
        index = _within(node.constant(1), x.shape[axis])
        cut = tuple(slice(0, n) if i != axis else slice(None) for i, n in enumerate(index.shape))
        return r.wire(np.take_along_axis(positions(x.shape)[cut], index, axis), x)
    index_real = node.real(1)
    size = x.shape[axis]
    if index_real.fact.size * size > MAX_ONE_HOT:
        raise Inadmissible("the index is too large for a one-hot matrix")
    rank = len(x.shape)
    low = -size if index_real.fact.lo < 0 else 0
    hit = hits(node, r.clamp(index_real, low, size - 1), size, rank)
    cut = tuple(slice(0, n) if i != axis else slice(None) for i, n in enumerate(index_real.shape))
    lines = np.moveaxis(positions(x.shape)[cut], axis, -1)
    picked = r.wire(np.expand_dims(lines, axis), x)
    total = r.sum(r.mul_exact(hit, picked), [rank])
    total = r.clamp(total, min(x.fact.lo, 0), max(x.fact.hi, 0))
    result = r.reshape(total, index_real.shape)
    return Real(result.tensor, x.scale, result.fact, x.exact)


@rule("GatherND")
def gather_nd(node: Node) -> Value:
    """Slices by tuples of indices."""
    x = node.real(0)
    r = node.reals
    batch = node.integer("batch_dims", 0)
    if node.is_constant(1):
        index = node.constant(1)
        return r.wire(_gather_nd(positions(x.shape), index, batch), x)
    index_real = node.real(1)
    depth = index_real.shape[-1]
    if batch or index_real.fact.lo < 0:
        raise Inadmissible("a computed index with batch_dims, or one that may be negative, is not supported")
    sizes = x.shape[:depth]
    strides = [int(np.prod(sizes[i + 1 :])) for i in range(depth)]
    flat = r.structural(np.array(strides).reshape((1,) * (len(index_real.shape) - 1) + (-1,)))
    joined = r.sum(
        r.mul_exact(index_real, Real(flat.tensor, flat.scale, flat.fact, exact=True)), [len(index_real.shape) - 1]
    )
    joined = r.reshape(joined, index_real.shape[:-1])
    return variable_gather(node, r.reshape(x, (int(np.prod(sizes)), *x.shape[depth:])), joined, 0)


def _gather_nd(data: np.ndarray, index: np.ndarray, batch: int) -> np.ndarray:
    if batch:
        return np.stack([_gather_nd(data[i], index[i], batch - 1) for i in range(data.shape[0])])
    parts = [_within(index[..., i], data.shape[i]) for i in range(index.shape[-1])]
    return np.asarray(data[tuple(parts)])


@rule("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(node: Node) -> Value:
    """Columns of the last axis."""
    x = node.real(0)
    index = _within(node.constant(1).reshape(-1), x.shape[-1])
    picked = positions(x.shape)[..., index]
    return node.reals.wire(picked.reshape(1, -1) if picked.ndim == 1 else picked, x)


@rule("Resize", "Upsample")
def resize(node: Node) -> Value:
    """Nearest neighbours: a wire."""
    node.ignore("cubic_coeff_a", "exclude_outside", "extrapolation_value", "antialias")
    if node.text("mode", "nearest") != "nearest":
        raise Inadmissible("only mode nearest is supported")
    x = node.real(0)
    mapping = node.text("coordinate_transformation_mode", "asymmetric" if node.opset < 11 else "half_pixel")
    rounding = node.text("nearest_mode", "floor" if node.opset < 11 else "round_prefer_floor")
    sizes, scales = _targets(node, x.shape)
    check_shape(tuple(sizes))
    axes = []
    for n, m, scale in zip(x.shape, sizes, scales, strict=True):
        axes.append(np.clip([_nearest(i, (n, m), scale, mapping, rounding) for i in range(m)], 0, n - 1))
    return node.reals.copies(positions(x.shape)[np.ix_(*axes)], x)


def _targets(node: Node, shape: tuple[int, ...]) -> tuple[list[int], list[Fraction]]:
    """Return the size of each axis of the result and the scale of its coordinates."""
    place_scales, place_sizes = (1, 9) if node.opset < 11 else (2, 3)
    axes = [front(a, len(shape)) for a in node.integers("axes") or range(len(shape))]
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    sizes, scales = list(shape), [Fraction(1)] * len(shape)
    if node.has(place_sizes):
        wanted = [int(n) for n in node.constant(place_sizes)]
        if policy != "stretch":
            ratios = [Fraction(m, shape[a]) for a, m in zip(axes, wanted, strict=True)]
            ratio = min(ratios) if policy == "not_larger" else max(ratios)
            wanted = [int((2 * shape[a] * ratio + 1) // 2) for a in axes]
        for a, m in zip(axes, wanted, strict=True):
            sizes[a], scales[a] = m, Fraction(m, shape[a])
            if policy != "stretch":
                scales[a] = ratio
        return sizes, scales
    given = node.constant(place_scales) if node.has(place_scales) else node.numbers("scales")
    if given is None:
        raise Inadmissible("neither sizes nor scales are given")
    for a, scale in zip(axes, given, strict=True):
        scales[a] = Fraction(float(scale))
        sizes[a] = int(shape[a] * scales[a] // 1)
    return sizes, scales


def _nearest(i: int, sizes: tuple[int, int], scale: Fraction, mapping: str, rounding: str) -> int:
    """Return the source of one coordinate, in exact rationals."""
    n, m = sizes
    half = Fraction(1, 2)
    match mapping:
        case "half_pixel":
            at = (i + half) / scale - half
        case "half_pixel_symmetric":
            adjust = Fraction(m) / (scale * n)
            at = Fraction(n, 2) * (1 - adjust) + (i + half) / scale - half
        case "pytorch_half_pixel":
            at = (i + half) / scale - half if m > 1 else Fraction(0)
        case "align_corners":
            at = Fraction(i * (n - 1), m - 1) if m > 1 else Fraction(0)
        case "asymmetric":
            at = i / scale
        case _:
            raise Inadmissible(f"coordinate_transformation_mode {mapping} is not supported")
    match rounding:
        case "floor":
            return at.__floor__()
        case "ceil":
            return at.__ceil__()
        case "round_prefer_floor":
            return (at - half).__ceil__()
        case "round_prefer_ceil":
            return (at + half).__floor__()
    raise Inadmissible(f"nearest_mode {rounding} is not supported")
