"""What a sample says of the whole: exact bounds, and the odds that a cheating provider is caught."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import ceil, comb, lgamma, log, log1p
from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_HALVINGS = 100
"""More than a double has bits, so that a bound is as exact as its terms."""


def missed(samples: int, drawn: int, false: int) -> Fraction:
    """Return the probability that none of the `false` answers is among those drawn: C(n-c, m) / C(n, m).

    The hypergeometric distribution at zero: `drawn` of `samples` answers, without replacement.
    """
    if not (0 <= drawn <= samples and 0 <= false <= samples):
        raise ConfigError(f"{drawn} drawn and {false} false answers do not fit {samples} samples")
    # The same ratio, C(n-m, c) / C(n, c), with the smaller of both numbers below.
    fewer, more = sorted((drawn, false))
    return Fraction(comb(samples - more, fewer), comb(samples, fewer))


def caught(samples: int, drawn: int, fraction: float) -> tuple[int, float]:
    """Return how many answers a fraction is, rounded up, and how likely it is that one of them is drawn."""
    false = min(samples, ceil(Fraction(fraction).limit_denominator(10**9) * samples))
    return false, float(1 - missed(samples, drawn, false))


def false_at_most(samples: int, drawn: int, confidence: float) -> int:
    """Return how many of all answers can be false where all that were drawn are true, at this confidence.

    It is the largest number c that would go unnoticed with a probability above 1 - confidence: an exact one-sided
    bound.
    """
    _check_confidence(confidence)
    allowed = 1 - Fraction(confidence).limit_denominator(10**9)
    low, high = 0, samples - drawn
    while low < high:
        middle = (low + high + 1) // 2
        if missed(samples, drawn, middle) > allowed:
            low = middle
        else:
            high = middle - 1
    return low


def clopper_pearson(right: int, trials: int, confidence: float) -> tuple[float, float]:
    """Return the exact two-sided interval of a proportion of which `right` of `trials` independent trials came out.

    Source: Clopper and Pearson, Biometrika 26 (1934). The limits are the proportions under which "so many or more",
    and "so few or fewer", are exactly as likely as half of 1 - confidence.
    """
    _check_confidence(confidence)
    if not 0 <= right <= trials:
        raise ConfigError(f"{right} of {trials} is no proportion")
    tail = (1 - confidence) / 2
    ways = _log_ways(trials)

    def likely(some: np.ndarray, p: float) -> float:
        return float(np.exp(ways[some] + some * log(p) + (trials - some) * log1p(-p)).sum())

    few, many = np.arange(right + 1), np.arange(right, trials + 1)
    low = 0.0 if right == 0 else _crossing(lambda p: likely(many, p) > tail)
    high = 1.0 if right == trials else _crossing(lambda p: likely(few, p) <= tail)
    return low, high


def of_whole(right: int, drawn: int, samples: int, confidence: float) -> tuple[int, int]:
    """Return between which numbers of all `samples` are right, where `right` of `drawn` without replacement are.

    The finite-population form of Clopper and Pearson's interval: all numbers K under which neither "so many or more"
    nor "so few or fewer" right ones in the sample is less likely than half of 1 - confidence.
    """
    _check_confidence(confidence)
    if not 0 <= right <= drawn <= samples:
        raise ConfigError(f"{right} of {drawn} drawn of {samples} is no sample")
    tail = (1 - confidence) / 2
    smallest, largest = right, samples - (drawn - right)

    def likely(first: int, last: int, total: int) -> float:
        """Return how likely it is that `first` to `last` of those drawn are right, if `total` of all are."""
        first, last = max(first, drawn - (samples - total)), min(last, total)
        some = np.arange(first, last + 1)
        ways = _log_ways(total)[some] + _log_ways(samples - total)[drawn - some]
        return float(np.exp(ways - _log_ways(samples)[drawn]).sum())

    def as_many(total: int) -> bool:
        return likely(right, drawn, total) > tail

    def as_few(total: int) -> bool:
        return likely(0, right, total) > tail

    low, high = smallest, largest
    while low < high:  # the likelihood of "so many or more" grows with the total
        middle = (low + high) // 2
        low, high = (low, middle) if as_many(middle) else (middle + 1, high)
    first = low
    low, high = first, largest
    while low < high:  # that of "so few or fewer" falls
        middle = (low + high + 1) // 2
        low, high = (middle, high) if as_few(middle) else (low, middle - 1)
    return first, low


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ConfigError(f"a confidence lies between 0 and 1, not at {confidence}", hint="for example 0.95")


@lru_cache(maxsize=4)
def _log_ways(of: int) -> np.ndarray:
    """Return the logarithms of C(of, 0) to C(of, of)."""
    factorials = np.array([lgamma(number + 1) for number in range(of + 1)])
    found: np.ndarray = factorials[-1] - factorials - factorials[::-1]
    return found


def _crossing(above: Callable[[float], bool]) -> float:
    """Return the proportion from which on `above` holds."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if above(middle) else (middle, high)
    return high
