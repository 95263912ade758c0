"""Scales and bits: how constants are quantised, and when tensors are narrowed."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import ConfigError
from balance_core.integer.lowering.graph import Graph, Real
from balance_core.integer.lowering.scaling import (
    finite,
    fit,
    fit_at,
    half_up,
    power_of_two_at_least,
    representable,
    to_integers,
)
from balance_core.integer.operations import Clamp, Constant, Lookup, Mul, Rescale, Wire
from balance_core.integer.recipe import AGAIN, exponent_of, point_of, range_of, scale_of

if TYPE_CHECKING:
    from balance_core.integer.recipe import Fixed

COARSENING = 8
"""How many times coarser than its best scale a retrained weight may be rounded: by 3 of its bits."""
RATIO_BITS = 20
"""Precision, in bits, of the ratio of two scales that have no simple ratio."""


class Point:
    """A fixed-point format: the scale of everything that has no reason for another, and its largest integer."""

    def __init__(self, fixed: Fixed) -> None:
        before, self.behind = point_of(fixed)
        self.scale = Fraction(1, 2**self.behind)
        self.bits = before + self.behind + 1
        self.largest = 2 ** (before + self.behind) - 1


class Widths:
    """Brings constants and tensors to their scales and bits, by choices that a recipe records."""

    def __init__(self, graph: Graph, bits: int, weight_bits: int, fixed: Fixed | None = None) -> None:
        self.graph = graph
        self.point = None if fixed is None else Point(fixed)
        self.bits = bits
        self.weight_bits = weight_bits
        self._narrow: dict[tuple[int, Fraction, int, int | None], Real] = {}

    # Constants

    def weight(self, array: np.ndarray, bits: int | None = None) -> Real:
        """Quantise a constant factor to a power-of-two scale within the bit budget of weights; integers stay."""
        reals = finite(array)
        largest = float(np.abs(reals).max())
        limit = (1 << ((bits or self.weight_bits) - 1)) - 1

        def choose() -> tuple[int, ...]:
            if self.point:
                return (-self.point.behind,)
            if largest <= limit and bool((reals == np.rint(reals)).all()):
                return (0,)
            scale = power_of_two_at_least(Fraction(largest) / limit)
            spare = int(np.gcd.reduce(np.abs(to_integers(reals, scale)).reshape(-1)))
            return (exponent_of(scale * (spare & -spare)),)  # a power of two divides all: fewer bits hold the same

        scale = scale_of(self.graph.take("scale", choose), self.graph.label)
        coarsest = COARSENING * power_of_two_at_least(Fraction(largest) / limit) if largest else scale
        if self.graph.choices.replaying and not self.point and scale > coarsest and not representable(reals, scale):
            reason = f"the recipe's scale of {float(scale):.3g} is too coarse for weights of {self.graph.label}"
            raise ConfigError(reason, hint=AGAIN)
        return self.graph.weight(to_integers(reals, scale), scale)

    def constant_at(self, array: np.ndarray, scale: Fraction) -> Real:
        """Quantise a constant term at a given scale."""
        return self.graph.weight(to_integers(finite(array), scale), scale)

    def structural(self, integers: np.ndarray, scale: Fraction = Fraction(1)) -> Real:
        """Return a constant that belongs to the structure, such as positions or powers of two."""
        return self.graph.constant(np.asarray(integers, dtype=np.int64), scale)

    def integers(self, array: np.ndarray) -> Real:
        """Return a constant of the structure as ONNX integers."""
        x = self.structural(array)
        return Real(x.tensor, x.scale, x.fact, exact=True)

    # Width

    def narrow(self, x: Real, bits: int | None = None, *, low: int | None = None) -> Real:
        """Bring a tensor within its bit budget: the range seen in calibration at the finest scale that fits.

        Constants keep the bits that they were given. With a fixed point, a tensor for which no bits are asked gets
        its scale instead, and the range seen at that.

        Integers below `low` were seen and do not matter: they may saturate.
        """
        point = self.point if bits is None else None
        budget = point.bits if point else bits or self.bits
        fits = x.fact.bits <= budget if point is None else x.scale == point.scale and x in self._narrow.values()
        if x.exact or fits or isinstance(self.graph.nodes[x.tensor].operation, Constant):
            return x
        key = (x.tensor, x.scale, budget, low)
        if key not in self._narrow:
            self._narrow[key] = self._narrowed(x, budget, low, point)
        return self._narrow[key]

    def narrowed(self, x: Real) -> Real | None:
        """Return what `narrow` made of a tensor, if anybody asked: the narrowest, if several did."""
        found = [known for key, known in self._narrow.items() if key[:2] == (x.tensor, x.scale)]
        return min(found, key=lambda known: known.fact.bits, default=None)

    def _narrowed(self, x: Real, budget: int, low: int | None, point: Point | None) -> Real:
        def choose() -> tuple[int, ...]:
            seen = self.graph.samples(x)
            if point:
                ends = fit_at(int(seen.min()) * x.scale, int(seen.max()) * x.scale, point.scale, point.largest)
                return -point.behind, *ends
            least_seen = int(seen.min()) if low is None else max(int(seen.min()), low)
            scale, least, most = fit(least_seen * x.scale, int(seen.max()) * x.scale, budget, finest=x.scale)
            return (least, most) if scale == x.scale else (exponent_of(scale), least, most)

        chosen = self.graph.take("narrow", choose)
        scale = x.scale if len(chosen) == 2 else scale_of(chosen, self.graph.label)
        least, most = range_of(chosen, budget, self.graph.label)
        source, lo, hi = self._below_clamp(x)
        if lo is not None and hi is not None:
            ratio = x.scale / scale
            least, most = max(least, half_up(lo * ratio)), min(most, half_up(hi * ratio))
        return self.clamp(self.to_scale(source, scale), least, most)

    def _below_clamp(self, x: Real) -> tuple[Real, int | None, int | None]:
        """Look through a clamp: a monotone rescale commutes with it, so one clamp after both is enough.

        A re-indexing between the two is done before both.
        """
        node = self.graph.nodes[x.tensor]
        if isinstance(node.operation, Wire) and len(node.inputs) == 1:
            inner = Real(node.inputs[0], x.scale, self.graph.facts[node.inputs[0]])
            source, lo, hi = self._below_clamp(inner)
            return (x, None, None) if lo is None else (self.graph.emit(node.operation, source, scale=x.scale), lo, hi)
        if isinstance(node.operation, Clamp):
            below = node.inputs[0]
            return Real(below, x.scale, self.graph.facts[below]), node.operation.lo, node.operation.hi
        return x, None, None

    def to_scale(self, x: Real, scale: Fraction) -> Real:
        """Express a tensor at another scale: exact for a finer multiple, else one rescale, rounded half up."""
        ratio = x.scale / scale
        if ratio == 1:
            return x
        if ratio.numerator.bit_length() > RATIO_BITS and ratio.denominator != 1:
            shift = max(0, RATIO_BITS - (ratio.numerator.bit_length() - ratio.denominator.bit_length()))
            ratio = Fraction(half_up(ratio * 2**shift), 2**shift)
        result = self.times_integer(x, ratio.numerator)
        if ratio.denominator > 1:
            result = self.graph.emit(Rescale(ratio.denominator), result, scale=scale)
        return Real(result.tensor, scale, result.fact)

    def times_integer(self, x: Real, factor: int) -> Real:
        """Multiply the integers by a public factor; the scale is divided by it, so the real value stays."""
        if factor == 1:
            return x
        constant = self.structural(np.full((1,) * len(x.shape), factor))
        return self.graph.emit(Mul(), x, constant, scale=x.scale / factor, exact=x.exact)

    def clamp(self, x: Real, lo: int, hi: int) -> Real:
        """Saturate the integers to [lo, hi]."""
        if lo <= x.fact.lo and x.fact.hi <= hi:
            return x
        lo, hi = max(lo, min(x.fact.lo, hi)), min(hi, max(x.fact.hi, lo))
        return self.graph.emit(Clamp(lo, hi), x, scale=x.scale, exact=x.exact)

    def clip(self, x: Real, lo: float, hi: float) -> Real:
        """Saturate the real values."""
        low = x.fact.lo if lo == -np.inf else half_up(Fraction(lo) / x.scale)
        high = x.fact.hi if hi == np.inf else half_up(Fraction(hi) / x.scale)
        return self.clamp(x, min(low, high), high)

    def table(self, x: Real, first: int, entries: np.ndarray, scale: Fraction, *, exact: bool = False) -> Real:
        """Look the integers up; they are known to lie in the table."""
        return self.graph.emit(Lookup(first, np.asarray(entries, dtype=np.int64)), x, scale=scale, exact=exact)
