"""QuantizeLinear and DequantizeLinear: their scales and zero points are taken as they are."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

from balance_core.integer.facts import Inadmissible
from balance_core.integer.lowering.graph import Real
from balance_core.integer.lowering.node import INTEGERS, front
from balance_core.integer.lowering.rules import rule
from balance_core.integer.lowering.scaling import power_of_two_at_least

if TYPE_CHECKING:
    from balance_core.integer.lowering.node import Node, Value


def _parameters(node: Node, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return scale and zero point, shaped to broadcast: for the tensor, for each place of an axis, or for blocks."""
    scale = node.constant(1).astype(np.float64)
    zero = node.constant(2).astype(np.int64) if node.has(2) else None
    axis = node.integer("axis", 1)
    axis = front(axis, len(shape)) if scale.size > 1 else 0
    block = node.integer("block_size", 0)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise Inadmissible("a scale is not positive")

    def shaped(array: np.ndarray) -> np.ndarray:
        if array.size == 1:
            return array.reshape((1,) * len(shape))
        if block:
            return np.repeat(array, block, axis=axis).take(range(shape[axis]), axis=axis)
        return array.reshape([-1 if i == axis else 1 for i in range(len(shape))])

    return shaped(scale), None if zero is None else shaped(zero)


@rule("DequantizeLinear")
def dequantize(node: Node) -> Value:
    """(x - zero point) * scale: the difference is exact, and the scale becomes the tensor's own."""
    node.ignore("output_dtype")
    r = node.reals
    if not node.is_integer(0):
        raise Inadmissible("only integer types are dequantised")
    x = node.real(0)
    scale, zero = _parameters(node, x.shape)
    if zero is not None and zero.any():
        x = r.sub(x, r.integers(zero))
    if np.unique(scale).size == 1:
        return Real(x.tensor, x.scale * Fraction(float(scale.reshape(-1)[0])), x.fact)
    return r.mul_constant(Real(x.tensor, x.scale, x.fact), scale)


@rule("QuantizeLinear")
def quantize(node: Node) -> Value:
    """Saturate(round(x / scale) + zero point); halves are rounded up, where ONNX takes the even neighbour."""
    node.ignore("saturate", "precision")
    r = node.reals
    kind = node.integer("output_dtype", 0) or (node.type_of_operand(2) if node.has(2) else onnx.TensorProto.UINT8)
    if kind not in INTEGERS:
        raise Inadmissible("only integer types are quantised to")
    low, high = integer_limits(kind)
    x = node.real(0)
    scale, zero = _parameters(node, x.shape)
    units = np.unique(scale)
    if units.size == 1:
        result = r.to_scale(Real(x.tensor, x.scale, x.fact), Fraction(float(units[0])))
    else:  # elements of one scale are taken out, rescaled, and put back
        which = np.broadcast_to(np.searchsorted(units, scale), x.shape)
        order = np.argsort(which.reshape(-1), kind="stable")
        groups = np.split(order, np.cumsum(np.bincount(which.reshape(-1), minlength=units.size))[:-1])
        parts = []
        for unit, group in zip(units, groups, strict=True):
            if group.size:
                part = r.to_scale(r.wire(group, x), Fraction(float(unit)))
                parts.append(Real(part.tensor, Fraction(1), part.fact))
        result = r.wire(np.argsort(order, kind="stable").reshape(x.shape), *parts)
    result = Real(result.tensor, Fraction(1), result.fact, exact=True)
    if zero is not None and zero.any():
        result = r.add(result, r.integers(zero))
    return r.clamp(result, low, high)


def integer_limits(kind: int) -> tuple[int, int]:
    """Return the least and the largest integer of an ONNX type."""
    match kind:
        case onnx.TensorProto.BOOL:
            return 0, 1
    name = onnx.TensorProto.DataType.Name(kind)
    bits = int(name.rpartition("INT")[2])
    return (0, 2**bits - 1) if name.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def quantised_scale(proto: onnx.ModelProto, name: str) -> Fraction | None:
    """Return a scale for an input that is quantised by the model itself: 256 steps to one of the model's."""
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    scales = [
        Fraction(float(numpy_helper.to_array(constants[node.input[1]]).min()))
        for node in proto.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] == name and node.input[1] in constants
    ]
    return power_of_two_at_least(min(scales)) / 256 if scales and min(scales) > 0 else None
