"""What a sample says of the whole: exact bounds, and the odds that a cheating provider is caught."""

from __future__ import annotations

import contextlib
import threading
from fractions import Fraction
from math import ceil, comb
from typing import Any

import numpy as np

from balance_core.errors import ConfigError, ToolNotFound


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

    Source: Clopper and Pearson, Biometrika 26 (1934): quantiles of beta distributions, as scipy computes them.
    """
    _check_confidence(confidence)
    if not 0 <= right <= trials:
        raise ConfigError(f"{right} of {trials} is no proportion")
    quantile = _special().betaincinv
    tail = (1 - confidence) / 2
    low = 0.0 if right == 0 else float(quantile(right, trials - right + 1, tail))
    high = 1.0 if right == trials else float(quantile(right + 1, trials - right, 1 - tail))
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

    def as_many(total: int) -> bool:
        return _likelihood(right, min(total, drawn), drawn, total, samples) > tail

    def as_few(total: int) -> bool:
        return _likelihood(max(0, drawn - samples + total), right, drawn, total, samples) > tail

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


def warm_up() -> None:
    """Begin to import what the bounds are computed with, in a thread of its own."""
    threading.Thread(target=_imported, daemon=True).start()


def _imported() -> None:
    with contextlib.suppress(ToolNotFound):
        _special()


def _likelihood(least: int, most: int, drawn: int, total: int, samples: int) -> float:
    """Return how likely it is that `least` to `most` of those drawn are among the `total` right ones of all samples.

    The hypergeometric distribution: the sum over k of C(total, k) C(samples - total, drawn - k) / C(samples, drawn).
    """
    gammaln = _special().gammaln

    def log_choose(of: Any, out: Any) -> Any:
        return gammaln(of + 1) - gammaln(out + 1) - gammaln(of - out + 1)

    right = np.arange(least, most + 1)
    log = log_choose(total, right) + log_choose(samples - total, drawn - right) - log_choose(samples, drawn)
    return float(np.exp(log).sum())


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ConfigError(f"a confidence lies between 0 and 1, not at {confidence}", hint="for example 0.95")


def _special() -> Any:
    try:
        from scipy import special  # a quarter of the time that scipy.stats takes to import
    except ImportError as error:
        raise ToolNotFound(
            "scipy is not installed, which computes an audit's bounds", hint="pip install 'balance-core[audit]'"
        ) from error
    return special
