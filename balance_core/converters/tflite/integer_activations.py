"""Quantised activations and changes of scale, as TensorFlow Lite's reference kernels define them."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from balance_core.converters.tflite.curves import CURVES, curve_table, exponentials
from balance_core.converters.tflite.integer_rule import ENDS, Rule, rule
from balance_core.converters.tflite.multiplier import multiplied, multiply, quantise_multiplier, round_half_away
from balance_core.integer.facts import Inadmissible
from balance_core.integer.operations import Divide

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_core.converters.exact import Tensor as Integers


@rule("QUANTIZE")
def quantise(r: Rule) -> list[Integers]:
    """Another scale and zero point for the same reals."""
    source, target = r.quantised(0), r.target
    if source.scale == target.scale:
        return [r.finish(r.centred(0))]
    pair = quantise_multiplier(source.scale / target.scale)
    return [_table(r, lambda q: multiplied(q - source.zero_point, *pair) + target.zero_point)]


def _table(r: Rule, entry: Callable[[int], int]) -> Integers:
    """Return a table over all bytes, its entries saturated to the result's type."""
    low, high = ENDS[r.quantised(0).dtype]
    least, most = ENDS[r.target.dtype]
    entries = [min(max(entry(q), least), most) for q in range(low, high + 1)]
    return r.graph.table(r.operand(0), low, entries)


@rule("RELU", "RELU6", "RELU_N1_TO_1")
def relu(r: Rule) -> list[Integers]:
    """Rescaled and cut off."""
    source, target = r.quantised(0), r.target
    pair = quantise_multiplier(float(np.float32(source.scale) / np.float32(target.scale)))
    least, most = {"RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}[r.operator.kind]
    low = target.zero_point + round_half_away(least / target.scale)
    high = ENDS[target.dtype][1] if most is None else target.zero_point + round_half_away(most / target.scale)
    low, high = max(low, ENDS[target.dtype][0]), min(high, ENDS[target.dtype][1])
    return [_table(r, lambda q: min(max(multiplied(q - source.zero_point, *pair) + target.zero_point, low), high))]


@rule("LEAKY_RELU")
def leaky_relu(r: Rule) -> list[Integers]:
    """Rescaled, with another factor for negatives."""
    source, target, alpha = r.quantised(0), r.target, np.float32(r.operator.options["Alpha"])
    if not np.isfinite(alpha) or alpha < 0:
        raise Inadmissible(f"a slope of {alpha} is not taken")
    ratio = np.float32(source.scale) / np.float32(target.scale)
    same = quantise_multiplier(float(ratio))
    less = quantise_multiplier(float(np.float32(source.scale) * alpha / np.float32(target.scale)))

    def entry(q: int) -> int:
        x = q - source.zero_point
        return target.zero_point + multiplied(x, *(same if x >= 0 else less))

    return [_table(r, entry)]


@rule("PRELU")
def prelu(r: Rule) -> list[Integers]:
    """Rescaled, with slopes that are quantised themselves for negatives."""
    x, slopes = r.centred(0), r.centred(1)
    scale = np.float32(r.quantised(0).scale)
    same = float(scale / np.float32(r.target.scale))
    less = float(scale * np.float32(r.quantised(1).scale) / np.float32(r.target.scale))
    kept = multiply(r.graph, x, [quantise_multiplier(same)])
    bent = multiply(r.graph, r.graph.mul(x, slopes), [quantise_multiplier(less)])
    return [r.finish(r.graph.select(r.graph.negative(x), bent, kept))]


def _curve(r: Rule) -> list[Integers]:
    source, target = r.quantised(0), r.target
    ends = ENDS[source.dtype], ENDS[target.dtype]
    entries = curve_table(
        r.operator.kind, (source.scale, source.zero_point), (target.scale, target.zero_point), *ends
    )
    return [r.graph.table(r.operand(0), ends[0][0], entries)]


for _kind in CURVES:
    rule(_kind)(_curve)


@rule("SOFTMAX")
def softmax(r: Rule) -> list[Integers]:
    """256 e_i / sum of e, to the nearest, with e the exponential of x - max from a table of 24 bits."""
    source, target, x = r.quantised(0), r.target, r.operand(0)
    low = ENDS[target.dtype][0]
    if Fraction(target.scale) != Fraction(1, 256) or target.zero_point != low or not x.shape:
        raise Inadmissible("its result must have the scale 1/256 and the least integer for 0")
    beta = r.operator.options["Beta"]
    if not 0 < beta < 2**20:
        raise Inadmissible(f"beta is {beta}")
    last = len(x.shape) - 1
    below = r.graph.sub(x, r.graph.max(x, [last]))
    below = r.graph.clamp(below, -255, 0)
    each = r.graph.table(below, -255, exponentials(Fraction(beta) * Fraction(source.scale)))
    total = r.graph.sum(each, [last])
    total = r.graph.clamp(total, int(each.fact.hi), total.fact.hi)  # the largest alone contributes as much
    quotient = r.graph.emit(Divide(), r.graph.times(each, 256), total)
    return [r.graph.clamp(r.graph.shift(quotient, low), *ENDS[target.dtype])]
