"""Inputs: their samples, and the choice of their scales and intervals."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import UnsupportedModel
from balance_core.integer.facts import Inadmissible
from balance_core.integer.lowering.rules.classic import column_scale
from balance_core.integer.lowering.rules.logic import whole_scale
from balance_core.integer.lowering.rules.quantised import integer_limits, quantised_scale
from balance_core.integer.lowering.rules.trees import tree_scale
from balance_core.integer.lowering.scaling import fit, fit_at
from balance_core.integer.recipe import exponent_of
from balance_core.model import ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import onnx

    from balance_core.integer.lowering.width import Point

WHOLE_RANGE = frozenset({"Cast", "CastLike", "DequantizeLinear", "ConvInteger", "MatMulInteger"})
"""Readers of 8-bit inputs that may take every value of the type."""


def given(name: str, samples: Mapping[str, np.ndarray], declared: Sequence[int]) -> np.ndarray:
    """Return an input's calibration samples; raises UnsupportedModel for other shapes than the model's."""
    if name not in samples:
        raise UnsupportedModel(f"input {name} has no calibration samples")
    found = np.asarray(samples[name])
    if not found.size:
        raise UnsupportedModel(f"input {name} is empty")
    if len(declared) != found.ndim - 1 or any(
        n not in {0, m} for n, m in zip(declared, found.shape[1:], strict=True)
    ):
        raise UnsupportedModel(f"samples of input {name} have shape {found.shape[1:]}, the model takes {declared}")
    return found


def real_range(
    proto: onnx.ModelProto, name: str, samples: np.ndarray, bits: int, point: Point | None
) -> tuple[int, int, int]:
    """Choose exponent of the scale, lo and hi of a real input: by its range, or finer where its readers need that."""
    reals = samples.astype(np.float64)
    if not np.isfinite(reals).all():
        raise Inadmissible("the samples hold infinities or NaN")
    low, high = Fraction(float(reals.min())), Fraction(float(reals.max()))
    if point is not None:
        return -point.behind, *fit_at(low, high, point.scale, point.largest)
    scale, least, most = fit(low, high, bits)
    for finer in (
        tree_scale(proto, name, reals),
        quantised_scale(proto, name),
        column_scale(proto, name, reals, bits),
        whole_scale(proto, name),
    ):
        if finer is not None and finer < scale:
            span = max(high, Fraction(0)) - min(low, Fraction(0))
            scale, least, most = fit(low, high, int(span / finer + 1).bit_length())
    return exponent_of(scale), least, most


def integer_range(
    proto: onnx.ModelProto, name: str, samples: np.ndarray, kind: int, readers: Iterable[str]
) -> tuple[int, int, int]:
    """Choose 0, lo and hi of an integer input: declared, or seen (up to a power of two), within the type."""
    least, most = integer_limits(kind)
    known = ranges.declared(proto, name)
    if known is not None:
        return 0, max(least, int(known[0])), min(most, int(known[1]))
    if most - least < 2**8 and WHOLE_RANGE.issuperset(readers):
        return 0, least, most
    low, high = int(samples.min()), int(samples.max())
    bound = 1 << max(high, -low - 1, 1).bit_length()
    return 0, max(least, -bound if low < 0 else 0), min(most, bound - 1)
