"""The tables of the zkml format: functions at a scale s, rounded correctly, as far as they are not constant."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from balance_core.integer import tables
from balance_core.integer.facts import Inadmissible
from balance_core.integer.operations.lookup import MAX_TABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

MAX_EXPONENTIAL = 2**40
"""Largest entry of a table of exponentials: the format's own division takes hardly larger numbers (three limbs)."""


def _reciprocal_root(x: Decimal) -> Decimal:
    return 1 / x.sqrt()


_FUNCTIONS: dict[str, Callable[[Decimal], Decimal]] = {
    "Logistic": tables.sigmoid,
    "Rsqrt": _reciprocal_root,
    "Sqrt": Decimal.sqrt,
    "Tanh": tables.tanh,
}


@lru_cache(maxsize=16)
def function_table(name: str, scale: int, least: int, most: int) -> tuple[int, np.ndarray]:
    """Return the first place and the entries round(f(x / s) * s) for x between the format's ends.

    Tanh and the logistic function are constant far from 0, where the table ends and what lies beyond saturates. Roots
    are taken of positive numbers only, others saturate to 1/s. Raises Inadmissible for a table of too many entries.
    """
    if name in {"Logistic", "Tanh"}:
        # 1 - tanh(y) < 2 exp(-2y) and 1 - logistic(y) < exp(-y): below half a unit from here on.
        with localcontext(tables.context()):
            bound = int((4 * Decimal(scale)).ln() * scale / (2 if name == "Tanh" else 1)) + 1
        first, last = max(least, -bound), min(most, bound)
    else:
        first, last = 1, most
    count = last - first + 1
    if count > MAX_TABLE:
        raise Inadmissible(f"its table would have {count} entries, more than the {MAX_TABLE} allowed (scale {scale})")
    unit = Fraction(1, scale)
    values = tables.entries(_FUNCTIONS[name], first, last, unit)
    return first, tables.rounded(values, unit, -(2**62), 2**62)


@lru_cache(maxsize=16)
def exponential(scale: int) -> tuple[int, np.ndarray]:
    """Return the first place and the entries round(exp(x / s) * s^2), from 0 up to `MAX_EXPONENTIAL`."""
    with localcontext(tables.context()):
        first = -int((2 * Decimal(scale) ** 2).ln() * scale) - 1
        last = max(0, int((Decimal(MAX_EXPONENTIAL) / scale**2).ln() * scale))
    if last - first >= MAX_TABLE:
        count = last - first + 1
        raise Inadmissible(f"its table would have {count} entries, more than the {MAX_TABLE} allowed (scale {scale})")
    values = tables.entries(Decimal.exp, first, last, Fraction(1, scale))
    return first, tables.rounded(values, Fraction(1, scale**2), 0, 2**62)
