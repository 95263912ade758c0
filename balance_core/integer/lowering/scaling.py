"""Choosing scales and rounding to them, in exact rationals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from balance_core.integer.facts import SAFE, Inadmissible


def half_up(value: Fraction) -> int:
    """Round to the nearest integer, halves up."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def is_power_of_two(value: Fraction) -> bool:
    """Whether a positive rational is 2^k for a whole k."""
    n, d = value.numerator, value.denominator
    return n & (n - 1) == 0 and d & (d - 1) == 0


def power_of_two_at_least(value: Fraction) -> Fraction:
    """Return the least power of two that is not below a positive rational."""
    k = value.numerator.bit_length() - value.denominator.bit_length() - 1
    while Fraction(2) ** k < value:
        k += 1
    return Fraction(2) ** k


def finite(array: np.ndarray) -> np.ndarray:
    """Return a constant as float64; raises Inadmissible for infinities and NaN."""
    reals = np.asarray(array).astype(np.float64)
    if not np.isfinite(reals).all():
        raise Inadmissible("a constant is not finite")
    return reals


def representable(reals: np.ndarray, scale: Fraction) -> bool:
    """Whether all values are whole multiples of the scale, as far as float64 can tell."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = reals / float(scale)
    return bool((scaled == np.rint(scaled)).all())


def fit(low: Fraction, high: Fraction, budget: int, finest: Fraction | None = None) -> tuple[Fraction, int, int]:
    """Choose scale and ends for values seen in [low, high], so that at most 2^budget integers are used.

    The scale is the finest power of two that holds the values seen and 0, or `finest` when nothing finer is known.
    Room that is left widens the interval, on the side of 0 only if the values have both signs. An extreme value that
    misses by one step saturates by that step rather than halving the scale.
    """
    low, high = min(low, Fraction(0)), max(high, Fraction(0))
    scale = power_of_two_at_least((high - low) / 2**budget) if high > low else Fraction(1, 2**budget)
    if finest is not None and finest >= scale:
        scale = finest
    return scale, *widened(low, high, scale, budget)


def fit_at(low: Fraction, high: Fraction, scale: Fraction, largest: int) -> tuple[int, int]:
    """Choose ends at a given scale for values seen in [low, high]: at least twice their range, up to `largest`."""
    low, high = min(low, Fraction(0)), max(high, Fraction(0))
    needed = half_up(high / scale) - half_up(low / scale)
    least, most = widened(low, high, scale, needed.bit_length() + 1)
    return max(least, -largest), min(most, largest)


def widened(low: Fraction, high: Fraction, scale: Fraction, budget: int) -> tuple[int, int]:
    """Return ends of 2^budget integers around the values: on the side of 0 only if they have both signs."""
    least, most = half_up(low / scale), half_up(high / scale)
    room = 2**budget - 1 - (most - least)
    if low == 0:
        return least, most + room
    if high == 0 or room < 0:
        return least - room, most
    return least - room // 2, most + room - room // 2


def to_integers(reals: np.ndarray, scale: Fraction) -> np.ndarray:
    """Round reals to multiples of a scale, halves up; raises Inadmissible beyond the safe width."""
    if float(np.abs(reals).max()) / float(scale) > SAFE / 4:
        raise Inadmissible("a constant is too large for the scale that it is needed at")
    if is_power_of_two(scale):
        scaled = reals * (scale.denominator / scale.numerator)
        low = np.floor(scaled)
        return low.astype(np.int64) + (scaled - low >= 0.5)
    flat = [half_up(Fraction(float(v)) / scale) for v in reals.reshape(-1)]
    return np.array(flat, dtype=np.int64).reshape(reals.shape)
