"""Comparisons, logic and selection: 0 and 1, exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import onnx

from balance_core.integer.facts import Inadmissible, check_shape
from balance_core.integer.lowering.functions import floor_divide
from balance_core.integer.lowering.graph import Real
from balance_core.integer.lowering.node import FLOATS, INTEGERS
from balance_core.integer.lowering.rules import rule
from balance_core.integer.lowering.rules.arithmetic import masked, signs
from balance_core.integer.lowering.scaling import power_of_two_at_least

if TYPE_CHECKING:
    from balance_core.integer.lowering.node import Node, Value


def sides(node: Node) -> tuple[Real, Real]:
    """Return two operands at a common scale; a constant is rounded to the other's scale, which decides ties."""
    found: list[Real] = []
    for place in (0, 1):
        if node.is_constant(place) and not node.is_constant(1 - place):
            other, array = node.real(1 - place), node.constant(place)
            if other.exact and np.issubdtype(array.dtype, np.integer):
                found.append(node.real(place))
            elif other.exact:
                raise Inadmissible("an ONNX integer is compared with a real")
            else:
                found.append(node.reals.constant_at(array, other.scale))
        else:
            found.append(node.real(place))
    x, y = node.reals.aligned_rank(*found)
    return x, y


@rule("Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal")
def compare(node: Node) -> Value:
    """Comparisons of the integers; reals closer than their scale count as equal."""
    r = node.reals
    x, y = sides(node)
    match node.op:
        case "Less":
            return r.less(x, y)
        case "Greater":
            return r.less(y, x)
        case "LessOrEqual":
            return r.negated(r.less(y, x))
        case "GreaterOrEqual":
            return r.negated(r.less(x, y))
    return r.equal(x, y)


@rule("And", "Or", "Xor")
def connect(node: Node) -> Value:
    """Products and differences of 0 and 1."""
    r = node.reals
    x, y = r.aligned_rank(node.real(0), node.real(1))
    both = r.mul_exact(x, y)
    if node.op == "And":
        return both
    total = r.sub(r.add(x, y), both)
    return r.clamp(total, 0, 1) if node.op == "Or" else r.clamp(r.sub(total, both), 0, 1)


@rule("Not")
def not_(node: Node) -> Value:
    """1 - x."""
    return node.reals.negated(node.real(0))


@rule("Where")
def where(node: Node) -> Value:
    """One operand or the other."""
    r = node.reals
    if node.is_constant(0):
        return _constant_where(node)
    chosen = []
    for place in (1, 2):
        other = node.value(3 - place)
        if node.is_constant(place) and isinstance(other, Real) and not other.exact:
            chosen.append(r.constant_at(masked(node, node.constant(place), other), other.scale))
        else:
            chosen.append(node.real(place))
    return r.select(node.real(0), *chosen)


def _constant_where(node: Node) -> Value:
    """Select by a constant mask: a wire."""
    r = node.reals
    if node.is_constant(1) != node.is_constant(2):  # a constant takes the scale of the other
        place = 1 if node.is_constant(1) else 2
        other = node.real(3 - place)
        array = masked(node, node.constant(place), other)
        constant = node.real(place) if other.exact else r.constant_at(array, other.scale)
        x, y = (constant, other) if place == 1 else (other, constant)
    else:
        x, y = r.common_scale([node.real(1), node.real(2)])
    shape = np.broadcast_shapes(node.shape(0), x.shape, y.shape)
    first = np.broadcast_to(np.arange(x.fact.size).reshape(x.shape), shape)
    second = np.broadcast_to(np.arange(y.fact.size).reshape(y.shape), shape) + x.fact.size
    result = r.wire(np.where(node.constant(0), first, second), x, y)
    return Real(result.tensor, result.scale, result.fact, x.exact and y.exact)


@rule("Cast", "CastLike")
def cast(node: Node) -> Value:
    """Integers to reals and wider integers as they are; reals to integers towards zero."""
    node.ignore("saturate", "round_mode")
    kind = node.integer("to") if node.op == "Cast" else node.type_of_output()
    value = node.value(0)
    if kind in FLOATS:
        if not node.is_integer(0):
            return value
        x = node.tensor(value)
        return Real(x.tensor, x.scale, x.fact)
    if kind not in INTEGERS:
        raise Inadmissible(f"a cast to type {onnx.TensorProto.DataType.Name(kind)} is not supported")
    x = node.tensor(value)
    r = node.reals
    if kind == onnx.TensorProto.BOOL:
        if not node.is_integer(0):
            raise Inadmissible("a real is cast to a boolean: a small value would become false")
        zero = r.structural(np.zeros((1,) * len(x.shape)))
        return r.clamp(r.add(r.less(x, zero), r.less(zero, x)), 0, 1)
    return as_integer(node, value)


def as_integer(node: Node, value: Value) -> Real:
    """Round a tensor towards zero, exactly; raises Inadmissible where its integers are further apart than 1."""
    r = node.reals
    x = node.tensor(value)
    if x.scale == 1:
        return Real(x.tensor, Fraction(1), x.fact, exact=True)
    if x.scale > 1:
        raise Inadmissible(f"integers are told apart only in steps of {float(x.scale):g} at this bit budget")
    if x.scale.numerator != 1 or x.scale.denominator % 2:
        x = r.to_scale(x, 1 / power_of_two_at_least(1 / x.scale))
    sign = None
    if x.fact.lo < 0:
        sign = signs(node, x)
        x = r.mul_exact(x, sign)
        x = r.clamp(x, 0, max(0, x.fact.hi))
    whole = floor_divide(r, x, x.scale.denominator)
    whole = Real(whole.tensor, Fraction(1), whole.fact, exact=True)
    return whole if sign is None else r.mul_exact(whole, sign)


def whole_scale(proto: onnx.ModelProto, name: str) -> Fraction | None:
    """Return the scale of a real input that the model turns into integers."""
    readers = [node for node in proto.graph.node if name in node.input]
    casts = any(
        node.op_type == "Cast" and any(a.name == "to" and a.i in INTEGERS for a in node.attribute) for node in readers
    )
    return Fraction(1, 2) if casts or any(node.op_type == "OneHot" for node in readers) else None


@rule("OneHot")
def one_hot(node: Node) -> Value:
    """A comparison of each index with every position, then off + (on - off) * hit."""
    r = node.reals
    depth = int(node.constant(1).reshape(()))
    off, on = node.constant(2)
    x = as_integer(node, node.value(0))
    rank = len(x.shape) + 1
    axis = node.integer("axis")
    axis = axis + rank if axis < 0 else axis
    hit = hits(node, x, depth, axis)
    if node.type_of_output() in INTEGERS or (float(on - off).is_integer() and float(off).is_integer()):
        span = r.structural(np.full((1,) * rank, int(on) - int(off)))
        start = r.structural(np.full((1,) * rank, int(off)))
        result = r.add(r.mul_exact(hit, span), start)
        return Real(result.tensor, Fraction(1), result.fact, exact=node.type_of_output() in INTEGERS)
    return r.add_constant(r.mul_constant(Real(hit.tensor, hit.scale, hit.fact), np.array(on - off)), np.array(off))


def hits(node: Node, index: Real, depth: int, axis: int) -> Real:
    """Return 1 where a position along a new axis is the index, counted from the end when it is negative."""
    r = node.reals
    if index.scale != 1:
        raise Inadmissible("an index is no integer")
    check_shape((index.fact.size, depth))
    rank = len(index.shape) + 1
    at = r.reshape(index, (*index.shape[:axis], 1, *index.shape[axis:]))
    if index.fact.lo < 0:
        zero = r.structural(np.zeros((1,) * rank))
        size = r.structural(np.full((1,) * rank, depth))
        at = r.add(at, r.mul_exact(r.less(at, zero), size))
    places = np.arange(depth).reshape([-1 if i == axis else 1 for i in range(rank)])
    return r.equal(r.structural(places), at)
