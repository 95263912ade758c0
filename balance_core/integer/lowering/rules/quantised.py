"""QuantizeLinear and DequantizeLinear: their scales and zero points are taken as they are."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import onnx

from balance_core.integer.facts import Inadmissible
from balance_core.integer.lowering.graph import Real
from balance_core.integer.lowering.node import INTEGERS
from balance_core.integer.lowering.real import positions
from balance_core.integer.lowering.rules import rule

if TYPE_CHECKING:
    from balance_core.integer.lowering.node import Node, Value


def _parameters(node: Node, rank: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return scale and zero point, shaped to broadcast; blocks are not supported."""
    if node.int("block_size", 0):
        raise Inadmissible("blocked quantisation is not supported")
    scale = node.constant(1).astype(np.float64)
    zero = node.constant(2).astype(np.int64) if node.has(2) else None
    axis = node.int("axis", 1)
    if scale.size == 1:
        shape: tuple[int, ...] = (1,) * rank
    else:
        shape = tuple(-1 if i == axis % rank else 1 for i in range(rank))
    return scale.reshape(shape), None if zero is None else zero.reshape(shape)


@rule("DequantizeLinear")
def dequantize(node: Node) -> Value:
    """(x - zero point) * scale: the difference is exact, and the scale becomes the tensor's own."""
    node.ignore("output_dtype")
    r = node.reals
    if not node.is_integer(0):
        raise Inadmissible("only integer types are dequantised")
    x = node.real(0)
    scale, zero = _parameters(node, len(x.shape))
    if zero is not None and zero.any():
        offset = r.structural(zero)
        x = r.sub(x, Real(offset.tensor, offset.scale, offset.fact, exact=True))
    if np.unique(scale).size == 1:
        unit = Fraction(float(scale.reshape(-1)[0]))
        if unit <= 0:
            raise Inadmissible("a scale is not positive")
        return Real(x.tensor, x.scale * unit, x.fact)
    return r.mul_constant(Real(x.tensor, x.scale, x.fact), scale)


@rule("QuantizeLinear")
def quantize(node: Node) -> Value:
    """Saturate(round(x / scale) + zero point); halves are rounded up, where ONNX takes the even neighbour."""
    node.ignore("saturate", "precision")
    r = node.reals
    kind = node.int("output_dtype", 0) or (node.type_of_operand(2) if node.has(2) else onnx.TensorProto.UINT8)
    if kind not in INTEGERS:
        raise Inadmissible("only integer types are quantised to")
    low, high = integer_limits(kind)
    x = node.real(0)
    scale, zero = _parameters(node, len(x.shape))
    axis = int(np.argmax(scale.shape)) if scale.size > 1 else 0
    parts = []
    for place, unit in enumerate(scale.reshape(-1)):
        part = x
        if scale.size > 1:
            part = r.wire(np.take(positions(x.shape), [place], axis=axis), x)
        parts.append(r.to_scale(Real(part.tensor, part.scale, part.fact), Fraction(float(unit))))
    whole = [Real(part.tensor, Fraction(1), part.fact, exact=True) for part in parts]
    result = whole[0] if len(whole) == 1 else r.concat(whole, axis)
    if zero is not None and zero.any():
        offset = r.structural(zero)
        result = r.add(result, Real(offset.tensor, offset.scale, offset.fact, exact=True))
    return r.clamp(result, low, high)


def integer_limits(kind: int) -> tuple[int, int]:
    """Return the least and the largest integer of an ONNX type."""
    match kind:
        case onnx.TensorProto.BOOL:
            return 0, 1
        case onnx.TensorProto.INT4:
            return -8, 7
        case onnx.TensorProto.UINT4:
            return 0, 15
    info = np.iinfo(onnx.helper.tensor_dtype_to_np_dtype(kind))
    return int(info.min), int(info.max)
