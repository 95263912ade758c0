"""Functions of one quantised byte, as tables of 256 entries, rounded correctly whatever the host's libm does."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING

from balance_core.integer import tables
from balance_core.integer.facts import Inadmissible

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

EXPONENTIAL_BITS = 24


def _elu(x: Decimal) -> Decimal:
    return x if x >= 0 else x.exp() - 1


def _gelu(x: Decimal) -> Decimal:
    return x * (1 + tables.erf(x / Decimal(2).sqrt())) / 2


def _hard_swish(x: Decimal) -> Decimal:
    return x * min(max(x + 3, Decimal(0)), Decimal(6)) / 6


def _reciprocal_root(x: Decimal) -> Decimal:
    return 1 / x.sqrt()


CURVES: dict[str, Callable[[Decimal], Decimal]] = {
    "ABS": abs,
    "ELU": _elu,
    "EXP": Decimal.exp,
    "GELU": _gelu,
    "HARD_SWISH": _hard_swish,
    "LOG": Decimal.ln,
    "LOGISTIC": tables.sigmoid,
    "RSQRT": _reciprocal_root,
    "SQRT": Decimal.sqrt,
    "TANH": tables.tanh,
}
"""The functions, by the operators' names."""


def curve_table(
    kind: str,
    source: tuple[float, int],
    target: tuple[float, int],
    given: tuple[int, int],
    made: tuple[int, int],
) -> list[int]:
    """Return the entries for all bytes of `given`: the nearest byte of `made`, halves away from zero, saturated.

    `source` and `target` are scale and zero point. Raises Inadmissible where the function is not defined for a byte
    that stands for a real number in its range: no entry would be right.
    """
    values = tables.entries(CURVES[kind], given[0] - source[1], given[1] - source[1], Fraction(source[0]))
    entries = []
    with localcontext(tables.context()):
        unit = tables.exact(target[0])
        for value in values:
            if value is None:
                raise Inadmissible("the function is not defined for every value of its operand")
            away = (abs(value) / unit + tables.HALF).to_integral_value(rounding="ROUND_FLOOR").copy_sign(value)
            entries.append(int(min(max(away + target[1], Decimal(made[0])), Decimal(made[1]))))
    return entries


def exponentials(scale: Fraction) -> np.ndarray:
    """Return round(2^24 exp(scale * d)) for d from -255 to 0."""
    with localcontext(tables.context()):
        values = tables.entries(Decimal.exp, -255, 0, scale)
    return tables.rounded(values, Fraction(1, 2**EXPONENTIAL_BITS), 0, 2**EXPONENTIAL_BITS)
