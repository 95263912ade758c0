"""TensorFlow Lite's integer arithmetic: reals as 31-bit multipliers and shifts, and its two roundings.

A real factor r is M * 2^(shift - 31) with M of 31 bits (`quantise_multiplier`). x * r is computed as
rounding_shift((x * 2^max(shift, 0) * M + 2^30) >> 31, max(-shift, 0)): the first rounding takes halves up, the
second, by the power of two that is left, halves away from zero. Fully connected layers round once, halves up:
(x * M + 2^(30 - shift)) >> (31 - shift). (gemmlowp's SaturatingRoundingDoublingHighMul and
RoundingDivideByPOT, as TensorFlow Lite's reference kernels compose them; without the saturation, which needs both
factors to be -2^31.)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer.facts import Inadmissible

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_core.converters.exact import ExactGraph, Tensor

HALF_BITS = 31
_ROOM = 2**29
"""An accumulator beyond this is bounded by its actual weights, so that its product with a multiplier is safe."""


def quantise_multiplier(real: float) -> tuple[int, int]:
    """Return M and shift of a real factor, which is at least 0; less than about 2^-31 becomes 0."""
    if not 0 <= real < 2.0**30:
        raise Inadmissible(f"the quotient of scales {real} is out of range")
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    integer = math.floor(fraction * 2**HALF_BITS + 0.5)
    if integer == 2**HALF_BITS:
        integer //= 2
        shift += 1
    return (0, 0) if shift < -HALF_BITS else (integer, shift)


def multiplied(x: int, multiplier: int, shift: int) -> int:
    """Return x times a quantised multiplier, for the entries of tables."""
    high = (x * 2 ** max(shift, 0) * multiplier + 2 ** (HALF_BITS - 1)) >> HALF_BITS
    return rounded_away(high, 2 ** max(-shift, 0))


def rounded_away(x: int, divisor: int) -> int:
    """Return x / divisor to the nearest integer, halves away from zero."""
    magnitude = (2 * abs(x) + divisor) // (2 * divisor)
    return magnitude if x >= 0 else -magnitude


def round_half_away(x: float) -> int:
    """Return the nearest integer, halves away from zero."""
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


def multiply(
    graph: ExactGraph, x: Tensor, factors: list[tuple[int, int]], axis: int = 0, *, negatives: bool = True
) -> Tensor:
    """Multiply by one quantised multiplier, or by one for each index of an axis.

    Where what is negative will saturate to 0 (`negatives` False), its halves may go either way: they go up, which is
    one operation instead of four.
    """
    high = graph.rescale(_product(graph, x, factors, axis), 2**HALF_BITS)
    return _shifted(graph, high, _right(factors), axis, graph.rescale_away if negatives else graph.rescale)


def multiply_rounding_once(graph: ExactGraph, x: Tensor, factors: list[tuple[int, int]], axis: int = 0) -> Tensor:
    """Multiply as `multiply` does, with a single rounding, halves up."""
    shifts = [HALF_BITS + shift for shift in _right(factors)]
    return _shifted(graph, _product(graph, x, factors, axis), shifts, axis, graph.rescale)


def _right(factors: list[tuple[int, int]]) -> list[int]:
    return [max(-shift, 0) for _, shift in factors]


def _product(graph: ExactGraph, x: Tensor, factors: list[tuple[int, int]], axis: int) -> Tensor:
    """Return x * M * 2^max(shift, 0)."""
    left = [multiplier << max(shift, 0) for multiplier, shift in factors]
    if len(factors) == 1:
        return graph.times(x, left[0])
    shape = [1] * len(x.shape)
    shape[axis] = len(factors)
    top = (1 << max(left).bit_length()) - 1
    return graph.mul(x, graph.weight(np.array(left).reshape(shape), 0, top))


def _shifted(
    graph: ExactGraph, x: Tensor, shifts: list[int], axis: int, divide: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """Shift each index of an axis by its own number of bits: those of one number together, then back into order."""
    from balance_core.converters.exact import positions

    if len(set(shifts)) == 1:
        return divide(x, 2 ** shifts[0])
    places = np.moveaxis(positions(x.shape), axis, 0)
    numbers = np.array(shifts)
    parts, order = [], []
    for shift in sorted(set(shifts)):
        chosen = np.flatnonzero(numbers == shift)
        parts.append(divide(graph.wire(np.moveaxis(places[chosen], 0, axis), x), 2**shift))
        order.extend(chosen.tolist())
    joined = graph.concatenate(parts, axis)
    back = np.argsort(np.array(order))
    return graph.wire(np.take(positions(joined.shape), back, axis=axis), joined)


def bounded(graph: ExactGraph, accumulator: Tensor, bound: int) -> Tensor:
    """Return an accumulator with an interval in which it can be multiplied.

    `bound` is the largest magnitude that it has for the actual weights. Where the interval that holds for any weights
    is too wide, saturating at the next power of two changes nothing, and bounds it.
    """
    if accumulator.fact.magnitude < _ROOM:
        return accumulator
    if bound >= 2**30:
        raise Inadmissible(f"its sums reach {bound}, beyond the 30 bits that can be rescaled")
    end = 1 << bound.bit_length()
    return graph.clamp(accumulator, -end, end)
