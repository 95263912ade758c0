"""Sums, products, quotients and powers."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer import tables
from balance_core.integer.facts import Inadmissible
from balance_core.integer.lowering.graph import Real
from balance_core.integer.lowering.node import Curve
from balance_core.integer.lowering.rules import rule
from balance_core.integer.operations import Rescale

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from balance_core.integer.lowering.node import Node, Value

    Binary = Callable[[Decimal, Decimal], Decimal]

FUNCTIONS: dict[str, Binary] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b,
    "Max": max,
    "Min": min,
}
MASK = 2.0**10
"""How far below every other number, as a multiple of the largest, a softmax mask is put."""
MAX_EXPONENTS = 64
"""Most distinct exponents of one Pow; each needs a table."""


def combined(function: Binary, left: Value, right: Value) -> Curve | None:
    """Return the pending function of one tensor that two operands make, if they do.

    They do when at least one is pending, and the other is a scalar, or depends on the same tensor alone.
    """
    sources = [x.source for x in (left, right) if isinstance(x, Curve)]
    if not sources:
        return None
    source = sources[0]
    a, b = _as_curve(left, source), _as_curve(right, source)
    if a is None or b is None:
        return None
    f, g = a.function, b.function
    return Curve(source, lambda x: function(f(x), g(x)))


def _as_curve(value: Value, source: Real) -> Curve | None:
    """Return a value as a function of `source`, if it is one; scales of one tensor may differ by a factor."""
    if isinstance(value, (Curve, Real)):
        own = value.source if isinstance(value, Curve) else value
        if own.tensor != source.tensor:
            return None
        factor = own.scale / source.scale
        inner = value.function if isinstance(value, Curve) else None
        if factor == 1:
            return value if isinstance(value, Curve) else Curve(source, lambda x: x)

        def rescaled(x: Decimal) -> Decimal:
            y = x * tables.exact(factor)
            return y if inner is None else inner(y)

        return Curve(source, rescaled)
    if value.size == 1 and value.ndim <= len(source.shape) and np.isfinite(value.astype(np.float64)).all():
        number = tables.exact(Fraction(value.reshape(-1)[0].item()))
        return Curve(source, lambda _: number)
    return None


@rule("Add", "Sum")
def add(node: Node) -> Value:
    """Sums; constants join the accumulator's scale."""
    result = node.value(0)
    for place in range(1, len(node.operands)):
        term = node.value(place)
        pending = combined(FUNCTIONS["Add"], result, term)
        if pending is not None:
            result = pending
        elif isinstance(term, np.ndarray):
            result = _add_constant(node, result, term)
        elif isinstance(result, np.ndarray):
            result = _add_constant(node, term, result)
        else:
            result = node.reals.add(_real(node, result), _real(node, term))
    return result


def _real(node: Node, value: Value) -> Real:
    return node.tensor(value)


def _add_constant(node: Node, value: Value, term: np.ndarray) -> Value:
    x = _real(node, value)
    if x.exact and np.issubdtype(term.dtype, np.integer):
        return node.reals.add(x, _real(node, term))
    return node.reals.add_constant(x, masked(node, term, x))


def masked(node: Node, array: np.ndarray, x: Real) -> np.ndarray:
    """Return a constant in which the huge negative numbers of a softmax mask are only as low as they must be."""
    if not node.feeds_softmax:
        return array
    floor = -MASK * max(1.0, x.fact.magnitude * float(x.scale))
    return np.where(array < floor, floor, array)


@rule("Sub")
def sub(node: Node) -> Value:
    """Differences."""
    left, right = node.value(0), node.value(1)
    pending = combined(FUNCTIONS["Sub"], left, right)
    if pending is not None:
        return pending
    if isinstance(right, np.ndarray) and not node.is_integer(0):
        return node.reals.add_constant(_real(node, left), -right)
    if isinstance(left, np.ndarray) and not node.is_integer(0):
        return node.reals.add_constant(node.reals.negate(_real(node, right)), left)
    return node.reals.sub(_real(node, left), _real(node, right))


@rule("Mul")
def mul(node: Node) -> Value:
    """Products; a scalar constant is taken by the scale."""
    left, right = node.value(0), node.value(1)
    pending = combined(FUNCTIONS["Mul"], left, right)
    if pending is not None:
        return pending
    if isinstance(left, np.ndarray):
        left, right = right, left
    x = _real(node, left)
    if isinstance(right, np.ndarray):
        return node.reals.mul_constant(x, right)
    y = _real(node, right)
    return node.reals.square(x) if (x.tensor, x.scale) == (y.tensor, y.scale) else node.reals.mul(x, y)


@rule("Div", precision=8)
def div(node: Node) -> Value:
    """Quotients: of integers towards zero, of reals to the precision of the bit budget."""
    left, right = node.value(0), node.value(1)
    if node.is_integer(0):
        return integer_quotient(node)
    pending = combined(FUNCTIONS["Div"], left, right)
    if pending is not None:
        return pending
    if isinstance(right, np.ndarray):
        if not np.all(right):
            raise Inadmissible("it divides by the constant 0")
        x = _real(node, left)
        if np.unique(right).size == 1:
            scaled = node.reals.times(x, 1 / Fraction(right.reshape(-1)[0].item()))
            return node.reals.expand(scaled, np.broadcast_shapes(x.shape, right.shape))
        return node.reals.mul_constant(x, 1 / right.astype(np.float64))
    if isinstance(left, np.ndarray) and left.size == 1 and left.ndim <= len(right.shape):
        number = tables.exact(Fraction(left.reshape(-1)[0].item()))
        return node.pending(right).then(lambda x: number / x)
    return quotient(node, _real(node, left), _real(node, right))


def quotient(node: Node, x: Real, y: Real) -> Real:
    """Divide reals of any sign; a divisor that rounds to 0 counts as one step."""
    r = node.reals
    if y.fact.lo < 1:
        x, y = r.aligned_rank(x, y)
        sign = signs(node, y)
        x, y = r.mul_exact(x, sign), r.mul_exact(y, sign)
        y = r.clamp(y, 1, max(1, y.fact.hi))
    return r.divide(x, y, r.bits + 2)


def signs(node: Node, x: Real) -> Real:
    """-1 where x is negative, else 1."""
    r = node.reals
    negative = r.less(x, r.structural(np.zeros((1,) * len(x.shape)), x.scale))
    return r.table(negative, 0, np.array([1, -1]), Fraction(1), exact=True)


def integer_quotient(node: Node) -> Real:
    """Divide ONNX integers towards zero; by a public number, if nothing is negative, with one rescale."""
    divisors = np.unique(node.constant(1)) if node.is_constant(1) else np.zeros(0)
    if divisors.size == 1 and divisors[0] > 0 and node.real(0).fact.lo >= 0:
        x = node.reals.expand(node.real(0), np.broadcast_shapes(node.shape(0), node.shape(1)))
        return floored(node, x, int(divisors[0]))
    return truncated(node, node.real(0), node.real(1))


def floored(node: Node, x: Real, divisor: int) -> Real:
    """floor(x / d) of ONNX integers for a public d: one rescale, floor((2(2x - d + 1) + 2d) / (2 * 2d))."""
    r = node.reals
    numerator = r.sub(r.times_integer(x, 2), r.structural(np.full((1,) * len(x.shape), divisor - 1), x.scale / 2))
    result = r.graph.emit(Rescale(2 * divisor), numerator, scale=Fraction(1), exact=True)
    return r.clamp(result, 0, max(0, result.fact.hi))


def truncated(node: Node, x: Real, y: Real) -> Real:
    """The quotient of ONNX integers, towards zero: floor(a / b) = floor((2(2a - b + 1) + 2b) / (2 * 2b))."""
    r = node.reals
    x, y = r.aligned_rank(x, y)
    sign_x, sign_y = signs(node, x), signs(node, y)
    a, b = r.mul_exact(x, sign_x), r.mul_exact(y, sign_y)
    a, b = r.clamp(a, 0, max(0, a.fact.hi)), r.clamp(b, 1, max(1, b.fact.hi))
    one = r.structural(np.ones((1,) * len(x.shape)))
    two = r.structural(np.full((1,) * len(x.shape), 2))
    numerator = r.add(r.sub(r.mul_exact(a, two), b), one)
    floor = r.divide_exact(numerator, r.mul_exact(b, two))
    floor = r.clamp(floor, 0, max(0, floor.fact.hi))
    return r.mul_exact(r.mul_exact(floor, sign_x), sign_y)


@rule("Neg")
def neg(node: Node) -> Value:
    """Negate."""
    x = node.value(0)
    return x.then(lambda v: -v) if isinstance(x, Curve) else node.reals.negate(node.real(0))


@rule("Mean")
def mean(node: Node) -> Value:
    """The mean of the operands."""
    total = node.real(0)
    for place in range(1, len(node.operands)):
        total = node.reals.add(total, node.real(place))
    return node.reals.times(total, Fraction(1, len(node.operands)))


@rule("Max", "Min")
def extreme(node: Node) -> Value:
    """The largest or smallest operand, element by element; a scalar constant is a clamp."""
    low = node.op == "Min"
    result = node.value(0)
    for place in range(1, len(node.operands)):
        other = node.value(place)
        pending = combined(FUNCTIONS[node.op], result, other)
        if pending is not None:
            result = pending
            continue
        if isinstance(result, np.ndarray):
            result, other = other, result
        x = _real(node, result)
        if isinstance(other, np.ndarray) and other.size == 1 and other.ndim <= len(x.shape):
            bound = float(other.reshape(-1)[0])
            result = node.reals.clip(x, -np.inf, bound) if low else node.reals.clip(x, bound, np.inf)
            continue
        pair = node.reals.stack([x, _real(node, other)])
        best = node.reals.min(pair, [0]) if low else node.reals.max(pair, [0])
        result = node.reals.reshape(best, best.shape[1:])
    return result


@rule("Pow", precision=8)
def power(node: Node) -> Value:
    """A constant power, or a constant to a power."""
    if not node.is_constant(1):
        base = node.constant(0)
        if base.size != 1 or base.ndim > len(node.shape(1)):
            raise Inadmissible("the exponent must be a constant, or the base a constant scalar")
        number = tables.exact(Fraction(base.reshape(-1)[0].item()))
        return node.pending(node.value(1)).then(lambda y: tables.power(number, y))
    exponents = np.unique(node.constant(1))
    if exponents.size == 1:
        x = node.value(0)
        shape = np.broadcast_shapes(x.shape, node.shape(1))
        result = _one_power(node, x, exponents[0])
        return result if tuple(shape) == tuple(x.shape) else node.reals.expand(_real(node, result), shape)
    if exponents.size > MAX_EXPONENTS:
        raise Inadmissible(f"it has {exponents.size} distinct exponents, more than {MAX_EXPONENTS}")
    shape = np.broadcast_shapes(node.shape(0), node.shape(1))
    x = node.reals.expand(node.real(0), shape)
    which = np.broadcast_to(node.constant(1), shape)
    parts = [_real(node, _one_power(node, x, exponent)) for exponent in exponents]
    joined = node.reals.common_scale(parts)
    offsets = np.searchsorted(exponents, which) * x.fact.size
    return node.reals.wire(offsets + np.arange(x.fact.size).reshape(shape), *joined)


def _one_power(node: Node, x: Value, exponent: float) -> Value:
    if float(exponent) == 1:
        return x
    if float(exponent) == 2 and isinstance(x, Real):
        return node.reals.square(x)
    if node.is_integer(0):
        if float(exponent) == int(exponent) and 0 <= exponent <= 8 and isinstance(x, Real):
            result = node.reals.structural(np.ones(x.shape))
            result = Real(result.tensor, result.scale, result.fact, exact=True)
            for _ in range(int(exponent)):
                result = node.reals.mul_exact(result, x)
            return result
        raise Inadmissible("a power of an ONNX integer must be a whole number up to 8")
    number = tables.exact(Fraction(float(exponent)))
    return node.pending(x).then(lambda v: tables.power(v, number))
