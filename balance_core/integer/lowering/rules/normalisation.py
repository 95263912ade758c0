"""Softmax and the normalisations, written in sums, squares, roots and quotients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer.facts import Inadmissible
from balance_core.integer.lowering.functions import GUARD, exponent, log_sum_exp, softmax, square_root, standardised
from balance_core.integer.lowering.node import front
from balance_core.integer.lowering.rules import rule
from balance_core.integer.lowering.rules.arithmetic import quotient
from balance_core.integer.lowering.rules.reduction import magnitude

if TYPE_CHECKING:
    from balance_core.integer.lowering.graph import Real
    from balance_core.integer.lowering.node import Node, Value


def _softmax_axes(node: Node) -> tuple[int, ...]:
    """Return the axes: one since opset 13, before that all from the given one on."""
    rank = len(node.shape(0))
    axis = node.axis()
    return (axis,) if node.opset >= 13 else tuple(range(axis, rank))


@rule("Softmax")
def soft_max(node: Node) -> Value:
    """Probabilities in units of 2^-bits; the operand is taken with a few bits more than the budget."""
    r = node.reals
    axes = _softmax_axes(node)
    return softmax(r, exponent(r, node.real(0), axes), axes)


@rule("LogSoftmax")
def log_soft_max(node: Node) -> Value:
    """Subtract the maximum, then ln(sum of exp(x - maximum))."""
    r = node.reals
    x = r.narrow(node.real(0), min(16, r.bits + GUARD))
    top, rest = log_sum_exp(r, x, _softmax_axes(node))
    return r.sub(r.sub(x, top), rest)


def _scaled(node: Node, x: Real, place: int, shape: tuple[int, ...] | None = None) -> Real:
    """Multiply by the scale operand and add the bias operand after it, where given."""
    r = node.reals
    for at, multiply in ((place, True), (place + 1, False)):
        if not node.has(at):
            continue
        if node.is_constant(at):
            array = node.constant(at).astype(np.float64)
            array = array if shape is None else array.reshape(shape)
            x = r.mul_constant(x, array) if multiply else r.add_constant(x, array)
        else:
            other = node.real(at) if shape is None else r.reshape(node.real(at), shape)
            x = r.mul(x, other) if multiply else r.add(x, other)
    return x


@rule("LayerNormalization", "RMSNormalization", precision=8)
def layer_normalization(node: Node) -> list[Value | None]:
    """Normalisation over the last axes."""
    node.ignore("stash_type")
    r = node.reals
    x = node.real(0)
    first = front(node.integer("axis"), len(x.shape))
    centre = node.op == "LayerNormalization"
    axes = range(first, len(x.shape))
    result, deviation = standardised(r, x, axes, node.number("epsilon"), centre=centre)
    results: list[Value | None] = [_scaled(node, result, 1)]
    if any(node.proto.output[1:]):
        one = r.structural(np.ones((1,) * len(x.shape)))
        results += [r.mean(r.narrow(x), axes), r.divide(one, deviation, r.bits + GUARD)]
    return results


@rule("InstanceNormalization", precision=8)
def instance_normalization(node: Node) -> Value:
    """Normalisation of each channel of each image."""
    x = node.real(0)
    result, _ = standardised(node.reals, x, range(2, len(x.shape)), node.number("epsilon"))
    return _scaled(node, result, 1, (1, -1, *(1,) * (len(x.shape) - 2)))


@rule("GroupNormalization", precision=8)
def group_normalization(node: Node) -> Value:
    """Normalisation of each group of channels; scale and bias by channel (before opset 21 by group)."""
    node.ignore("stash_type")
    r = node.reals
    x = node.real(0)
    groups = node.integer("num_groups")
    n, channels = x.shape[:2]
    if groups < 1 or channels % groups:
        raise Inadmissible(f"{groups} groups do not divide {channels} channels")
    grouped = r.reshape(x, (n, groups, x.fact.size // (n * groups)))
    result, _ = standardised(r, grouped, [2], node.number("epsilon"))
    if node.opset < 21:
        result = _scaled(node, result, 1, (1, groups, 1))
        return r.reshape(result, x.shape)
    return _scaled(node, r.reshape(result, x.shape), 1, (1, channels, *(1,) * (len(x.shape) - 2)))


@rule("BatchNormalization", precision=8)
def batch_normalization(node: Node) -> Value:
    """A scale and an offset for each channel; all parameters are constants."""
    node.ignore("momentum", "spatial")
    if node.integer("training_mode", 0) or any(node.proto.output[1:]):
        raise Inadmissible("training mode is not supported")
    x = node.real(0)
    scale, bias, mean, variance = (node.constant(i).astype(np.float64) for i in range(1, 5))
    factor = scale / np.sqrt(variance + node.number("epsilon"))
    shape = (1, -1, *(1,) * (len(x.shape) - 2))
    scaled = node.reals.mul_constant(x, factor.reshape(shape))
    return node.reals.add_constant(scaled, (bias - mean * factor).reshape(shape))


@rule("LpNormalization", precision=8)
def lp_normalization(node: Node) -> Value:
    """Divide by the norm along an axis."""
    r = node.reals
    x = r.narrow(node.real(0))
    axis = node.axis()
    order = node.integer("p")
    if order not in {1, 2}:
        raise Inadmissible(f"p = {order} is not supported")
    norm = r.sum(magnitude(node, x), [axis]) if order == 1 else square_root(r, r.sum(r.mul_exact(x, x), [axis]))
    return quotient(node, x, r.clamp(norm, 1, max(1, norm.fact.hi)))


@rule("MeanVarianceNormalization", precision=8)
def mean_variance_normalization(node: Node) -> Value:
    """Normalisation over the given axes."""
    axes = node.integers("axes") or (0, 2, 3)
    x = node.real(0)
    return standardised(node.reals, x, sorted(front(a, len(x.shape)) for a in axes), 1e-9)[0]
