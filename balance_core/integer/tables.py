"""Entries of look-up tables: real functions in decimal arithmetic, rounded correctly on every platform.

Nothing here uses the host's libm. `decimal` is integer arithmetic with correctly rounded exp, ln and sqrt
(General Decimal Arithmetic Specification 1.70); the rest is composed from them with `DIGITS` digits, of which more
than thirty are to spare when an entry is rounded to an integer.
"""

from __future__ import annotations

from bisect import bisect_left
from decimal import Context, Decimal, DecimalException, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = Callable[[Decimal], Decimal]

DIGITS = 60
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803")
ONE = Decimal(1)
HALF = Decimal("0.5")


def context() -> Context:
    """Return the arithmetic of all table entries: 60 digits, half to even, errors for undefined points."""
    return Context(prec=DIGITS, Emax=10**6, Emin=-(10**6))


def exact(value: float | Fraction) -> Decimal:
    """Return a number as a decimal: exactly if it is dyadic, else rounded to `DIGITS`."""
    fraction = Fraction(value)
    return Decimal(fraction.numerator) / Decimal(fraction.denominator)


@lru_cache(maxsize=2**16)
def erf(x: Decimal) -> Decimal:
    """The error function: 2/sqrt(pi) exp(-x^2) sum of 2^n x^(2n+1) / (2n+1)!! (DLMF 7.6.2, no cancellation)."""
    if abs(x) > 12:  # 1 - erf(12) < 1e-64
        return ONE.copy_sign(x)
    term = total = x
    n = 0
    square = 2 * x * x
    while abs(term) > abs(total) * Decimal("1e-62"):
        n += 1
        term = term * square / (2 * n + 1)
        total += term
    return 2 / PI.sqrt() * (-x * x).exp() * total


def sigmoid(x: Decimal) -> Decimal:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + (-x).exp())


def tanh(x: Decimal) -> Decimal:
    """1 - 2 / (exp(2x) + 1)."""
    return 1 - 2 / ((2 * x).exp() + 1)


def softplus(x: Decimal) -> Decimal:
    """ln(1 + exp(x)), written so that large x do not overflow."""
    return max(x, Decimal(0)) + (1 + (-abs(x)).exp()).ln()


def power(x: Decimal, exponent: Decimal) -> Decimal:
    """Raise to a constant power; undefined for a negative x and an exponent that is no integer."""
    if exponent == exponent.to_integral_value() and abs(exponent) <= 1024:
        return x ** int(exponent)
    if x == 0 and exponent > 0:
        return Decimal(0)
    return (x.ln() * exponent).exp()


def floor(x: Decimal) -> Decimal:
    """The largest integer not above x."""
    return x.to_integral_value(rounding="ROUND_FLOOR")


def entries(function: Function, first: int, last: int, scale: Fraction) -> list[Decimal | None]:
    """Return function((first .. last) * scale); None where the function is undefined."""
    result: list[Decimal | None] = []
    with localcontext(context()):
        unit = exact(scale)
        for i in range(first, last + 1):
            try:
                value = function(i * unit)
            except (DecimalException, OverflowError):
                value = Decimal("NaN")
            result.append(value if value.is_finite() else None)
    return result


def rounded(values: list[Decimal | None], scale: Fraction, lo: int, hi: int) -> np.ndarray:
    """Return floor(value / scale + 1/2) saturated to [lo, hi]; an undefined entry takes its nearest defined one's."""
    with localcontext(context()):
        unit = exact(scale)
        quotients = [None if value is None else value / unit for value in values]
        integers = [
            None if q is None else lo if q <= lo else hi if q >= hi else int(floor(q + HALF)) for q in quotients
        ]
    known = [i for i, entry in enumerate(integers) if entry is not None]
    if not known:
        raise ValueError("the function is undefined on the whole range")
    return np.array([integers[nearest(known, i)] for i in range(len(integers))], dtype=np.int64)


def nearest(known: list[int], place: int) -> int:
    """Return the element of a rising list that is nearest to a place, the lower of two."""
    right = bisect_left(known, place)
    around = known[max(0, right - 1) : right + 1]
    return min(around, key=lambda k: (abs(k - place), k))
