"""Functions whose domain is too wide for one table: range reduction to small tables and exact arithmetic.

The error bounds stated here hold for every input, whatever the calibration samples; tests check them.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer import tables
from balance_core.integer.facts import SAFE
from balance_core.integer.lowering.graph import Real
from balance_core.integer.lowering.scaling import half_up, power_of_two_at_least, to_integers
from balance_core.integer.operations import Divide, Rescale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.lowering.real import Reals

GUARD = 2
"""Bits by which an exponential is finer than the sum of `count` of them needs."""
DIRECT = 2**10
"""An exponential of fewer steps is one table, whatever the bit budget: provers have tables of that size anyway."""
MAX_VARIANCE_BITS = 48
"""Most bits of a variance, so that its root can be taken within the safe width."""


def exponentials(r: Reals, distance: Real, count: int) -> Real:
    """Return exp(-distance) for a distance of 0 or more, fit for sums of `count` terms.

    The unit is 2^-(bits + 2 + log2 count), rounded up to a power of two; each result errs by at most one unit.
    """
    unit_bits = r.bits + GUARD + (count - 1).bit_length()
    unit = Fraction(1, 2**unit_bits)
    with localcontext(tables.context()):  # beyond this many steps exp(-distance) rounds to 0
        reach = int(_reach(unit_bits) / tables.exact(distance.scale)) + 1
    last = min(reach, max(0, distance.fact.hi))
    steps = r.clamp(distance, 0, last)
    if last < max(2**r.bits, DIRECT):
        return r.table(steps, 0, _exponential_table(last + 1, distance.scale, unit), unit)
    low_bits = (last.bit_length() + 1) // 2
    high = floor_divide(r, steps, 2**low_bits)
    low = r.sub(steps, r.times_integer(high, 2**low_bits))
    low = r.clamp(low, 0, 2**low_bits - 1)
    fine = unit / 4
    coarse = _exponential_table((last >> low_bits) + 1, distance.scale * 2**low_bits, fine)
    entries = _exponential_table(2**low_bits, distance.scale, fine)
    product = r.mul_exact(r.table(high, 0, coarse, fine), r.table(low, 0, entries, fine))
    return r.to_scale(product, unit)


def _exponential_table(size: int, step: Fraction, unit: Fraction) -> np.ndarray:
    one = int(1 / unit)
    return tables.rounded(tables.entries(lambda x: (-x).exp(), 0, size - 1, step), unit, 0, one)


def floor_divide(r: Reals, x: Real, divisor: int) -> Real:
    """Return floor(x / d) of the integers, d even: floor((2(x - d/2) + d) / (2d)); the scale is multiplied by d."""
    half = r.structural(np.full((1,) * len(x.shape), divisor // 2), x.scale)
    x = Real(x.tensor, x.scale, x.fact)
    return r.graph.emit(Rescale(divisor), r.sub(x, half), scale=x.scale * divisor)


def _reach(unit_bits: int) -> Decimal:
    """Return the distance beyond which an exponential rounds to 0 in units of 2^-unit_bits."""
    return Decimal(unit_bits + 1) * Decimal(2).ln()


def exponent(r: Reals, x: Real, axes: Sequence[int]) -> Real:
    """Narrow the operand of a softmax: what lies so far below its maximum that it rounds to 0 may saturate.

    So a mask, which adds a huge negative number, costs no precision.
    """
    bits = min(16, r.bits + GUARD)
    if x.exact or x.fact.bits <= bits:
        return x
    unit_bits = r.bits + GUARD + (int(np.prod([x.shape[a] for a in axes])) - 1).bit_length()
    with localcontext(tables.context()):
        reach = int(_reach(unit_bits) / tables.exact(x.scale)) + 1

    def choose() -> tuple[int, ...]:
        seen = r.graph.samples(x)
        floor = int(seen.max(axis=tuple(a + 1 for a in axes)).min()) - reach
        return (floor,) if int(seen.min()) < floor else ()

    chosen = r.graph.take("floor", choose)
    return r.narrow(x, bits, low=chosen[0] if chosen else None)


def softmax(r: Reals, x: Real, axes: Sequence[int]) -> Real:
    """exp(x) / sum of exp(x) over the axes, in units of 2^-bits.

    For the operand's integers as they are, each result errs by at most 2^-bits, at every length: an exponential errs
    by at most e = 2^-(bits + 2) / n, the sum of n by n * e while it is at least 1, the quotient by 2^-(bits + 1).
    """
    count = int(np.prod([x.shape[a] for a in axes]))
    top = r.max_exact(x, axes)
    weights = exponentials(r, r.sub(top, x), count)
    total = r.sum(weights, axes)
    one = int(1 / weights.scale)
    total = r.clamp(total, one, max(one, total.fact.hi))  # the largest term is exactly 1
    wide = r.times_integer(Real(weights.tensor, Fraction(1), weights.fact), 2**r.bits)
    result = r.graph.emit(Divide(), wide, total, scale=Fraction(1, 2**r.bits))
    return r.clamp(result, 0, 2**r.bits)


def log_sum_exp(r: Reals, x: Real, axes: Sequence[int]) -> tuple[Real, Real]:
    """Return the maximum over the axes and ln(sum of exp(x - maximum))."""
    top = r.max_exact(x, axes)
    weights = exponentials(r, r.sub(top, x), int(np.prod([x.shape[a] for a in axes])))
    total = r.sum(weights, axes)
    one = int(1 / weights.scale)
    return top, logarithm(r, r.clamp(total, one, max(one, total.fact.hi)))


def normalised(r: Reals, x: Real, base_bits: int, mantissa_bits: int) -> tuple[Real, Real, int]:
    """Write positive integers as mantissa * B^level * constant, B = 2^base_bits, with one comparison for each level.

    Returns the mantissa, in [2^m, 2^(m + base_bits)] for m = mantissa_bits, the level, and t so that
    x = mantissa * B^level * 2^-t up to one unit of the mantissa, rounded.
    """
    highest = (x.fact.hi.bit_length() - 1) // base_bits
    lowest = (max(1, x.fact.lo).bit_length() - 1) // base_bits
    levels = [2 ** (base_bits * k) - 1 for k in range(lowest + 1, highest + 1)]
    column = r.reshape(Real(x.tensor, Fraction(1), x.fact), (*x.shape, 1))
    if levels:
        bounds = r.structural(np.array(levels).reshape((1,) * len(x.shape) + (-1,)))
        level = r.reshape(r.sum(r.less(bounds, column), [len(x.shape)]), x.shape)
    else:
        level = r.structural(np.zeros(x.shape))
    powers = np.array([2 ** (base_bits * (lowest + k)) for k in range(len(levels) + 1)])
    wide = r.times_integer(Real(x.tensor, Fraction(1), x.fact), 2**mantissa_bits)
    mantissa = r.graph.emit(Divide(), wide, r.table(level, 0, powers, Fraction(1)), scale=Fraction(1))
    mantissa = r.clamp(mantissa, 2**mantissa_bits, 2 ** (mantissa_bits + base_bits))
    return mantissa, level, mantissa_bits - base_bits * lowest


def logarithm(r: Reals, x: Real) -> Real:
    """ln(x) for positive integers, at 2^-(bits + 2): a table for the mantissa, and one for the level.

    The error is at most 2^-(bits - 1) for every operand.
    """
    x = r.clamp(x, 1, max(1, x.fact.hi))
    mantissa, level, t = normalised(r, x, 1, r.bits - 1)
    unit = Fraction(1, 2 ** (r.bits + GUARD))
    first, last = mantissa.fact.lo, mantissa.fact.hi
    bound = 2**40
    small = tables.rounded(tables.entries(lambda v: v.ln(), first, last, Fraction(1)), unit, -bound, bound)

    def of_level(k: Decimal) -> Decimal:
        return (k - t) * Decimal(2).ln() + tables.exact(x.scale).ln()

    large = tables.rounded(tables.entries(of_level, 0, level.fact.hi, Fraction(1)), unit, -bound, bound)
    return r.add(r.table(mantissa, first, small, unit), r.table(level, 0, large, unit))


def square_root(r: Reals, x: Real) -> Real:
    """sqrt(x) for integers of 0 or more: a table for the mantissa, then one step of Heron's method.

    The relative error is at most 2^-bits, plus one unit of the result; 0 counts as the smallest step of x.
    """
    x = r.clamp(x, 1, max(1, x.fact.hi))
    # The root of a power of four is a power of two; guard bits keep the roots of small integers apart.
    quarter = power_of_two_at_least(x.scale)
    quarter = quarter if (quarter.numerator * quarter.denominator).bit_length() % 2 else quarter / 2
    mantissa_bits = 2 * max(2, (r.bits + 2) // 4)  # Heron's step squares the table's error of 2^-(m + 1)
    width = half_up(x.fact.hi * x.scale / quarter).bit_length()
    guard = min(r.bits + GUARD, (58 - mantissa_bits - width) // 2)
    fine = r.to_scale(x, quarter / Fraction(4) ** guard)
    fine = r.clamp(fine, 1, max(1, fine.fact.hi))
    mantissa, level, t = normalised(r, fine, 2, mantissa_bits)
    # sqrt(mantissa) is taken at 2^-extra, so that the first guess is an integer of enough digits.
    extra = r.bits
    first, last = mantissa.fact.lo, mantissa.fact.hi
    roots = tables.rounded(
        tables.entries(lambda v: v.sqrt(), first, last, Fraction(1)), Fraction(1, 2**extra), 0, 2**40
    )
    powers = np.array([2**k for k in range(level.fact.hi + 1)])
    guess = r.mul_exact(r.table(mantissa, first, roots, Fraction(1)), r.table(level, 0, powers, Fraction(1)))
    # guess = sqrt(fine) * 2^(t/2 + extra); bring it to units of 1.
    drop = t // 2 + extra
    guess = r.graph.emit(Rescale(2**drop), guess, scale=Fraction(1)) if drop > 0 else r.times_integer(guess, 2**-drop)
    guess = r.clamp(guess, 1, max(1, guess.fact.hi))
    whole = Real(fine.tensor, Fraction(1), fine.fact)
    other = r.graph.emit(Divide(), whole, guess, scale=Fraction(1))
    both = r.graph.emit(Rescale(2), r.add(Real(guess.tensor, Fraction(1), guess.fact), other), scale=Fraction(1))
    limit = int(np.sqrt(float(fine.fact.hi))) + 2
    root = r.clamp(both, 1, min(limit, SAFE))
    return Real(root.tensor, _root(quarter) / Fraction(2) ** guard, root.fact)


def _root(quarter: Fraction) -> Fraction:
    """Return the root of an even power of two."""
    bits = quarter.numerator.bit_length() - quarter.denominator.bit_length()
    return Fraction(2) ** (bits // 2)


def standardised(r: Reals, x: Real, axes: Sequence[int], epsilon: float, *, centre: bool = True) -> tuple[Real, Real]:
    """Return (x - mean) / s over the axes and s = sqrt(variance + epsilon).

    Without `centre`, the mean counts as 0. The quotient is within the bit budget.
    """
    x = r.narrow(x, min(16, r.bits + GUARD))
    count = int(np.prod([x.shape[a] for a in axes]))
    if centre:
        total = r.sum(x, axes)
        scaled = r.times_integer(x, count)
        x = r.narrow(r.sub(scaled, Real(total.tensor, scaled.scale, total.fact)), min(16, r.bits + 2 * GUARD))
    variance = r.mean(r.mul_exact(x, x), axes)
    if epsilon > 0:  # at a scale that tells it from 0, as far as the safe width allows
        finest = power_of_two_at_least(variance.fact.hi * variance.scale) / 2**MAX_VARIANCE_BITS
        scale = max(finest, power_of_two_at_least(Fraction(epsilon)) / 2**r.bits)
        if scale < variance.scale:
            variance = r.to_scale(variance, scale)
        offset = to_integers(np.full((1,) * len(x.shape), epsilon), variance.scale)
        variance = r.add(variance, r.structural(offset, variance.scale))
    deviation = square_root(r, variance)
    half = 2 ** (r.bits - 1)
    return r.clamp(r.divide(x, deviation, r.bits - 1), -half, half - 1), deviation
