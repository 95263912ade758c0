"""What goes into a circuit and what comes out of it: arrays as its integers, its integers as tensors and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import ConfigError
from balance_core.records import Tensor, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def quantise(array: np.ndarray, spec: TensorSpec, scale: int, limit: int) -> list[int]:
    """Return an input's values in units of 2^-scale, rounded half away from zero as ezkl does.

    Raises ConfigError that names the input for another shape, for text, NaN and infinity, and for values whose size
    in those units is `limit` or more.
    """
    array = np.asarray(array)
    if array.shape != spec.shape:
        raise ConfigError(f"input {spec.name!r} has shape {list(array.shape)}, the model takes {list(spec.shape)}")
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"input {spec.name!r} holds {array.dtype}, which are no numbers")
    if array.dtype.kind == "f":
        wide = array.astype(np.float64).ravel()
        if not np.isfinite(wide).all():
            raise ConfigError(f"input {spec.name!r} holds values that are not finite", hint="remove NaN and infinity")
        units = np.ldexp(wide, scale)
        whole = np.trunc(units)
        whole += np.where(np.abs(units - whole) >= 0.5, np.sign(units), 0.0)
        values = [int(value) for value in whole.tolist()]
    else:
        values = [int(value) << scale for value in array.ravel().tolist()]
    largest = max(map(abs, values), default=0)
    if largest >= limit:
        raise ConfigError(
            f"input {spec.name!r} holds {largest / 2**scale:g}, the circuit takes values below {limit / 2**scale:g}",
            hint="set the circuit up with samples as large as this one",
        )
    return values


def quantise_all(
    inputs: Mapping[str, np.ndarray], specs: Sequence[TensorSpec], scales: Sequence[int], limit: int
) -> list[list[int]]:
    """Return all inputs in the circuit's order; raises ConfigError for one that is missing or unknown."""
    known = {spec.name for spec in specs}
    if known != set(inputs):
        wrong = min(known ^ set(inputs))
        kind = "is missing" if wrong in known else "is none of the model's"
        raise ConfigError(f"input {wrong!r} {kind}", hint=f"the model takes {', '.join(sorted(known))}")
    return [quantise(inputs[spec.name], spec, scale, limit) for spec, scale in zip(specs, scales, strict=True)]


def tensors(
    specs: Sequence[TensorSpec], scales: Sequence[int], values: Sequence[Sequence[int]]
) -> tuple[Tensor, ...]:
    """Return integers of the circuit as the tensors of a statement."""
    return tuple(
        Tensor(name=spec.name, shape=spec.shape, integers=tuple(integers), denominator=1 << scale)
        for spec, scale, integers in zip(specs, scales, values, strict=True)
    )


def floats(values: Sequence[int], spec: TensorSpec, scale: int) -> np.ndarray:
    """Return integers of the circuit as the numbers that they mean."""
    units = np.array([float(value) for value in values], dtype=np.float64)
    return np.asarray(np.ldexp(units, -scale)).reshape(spec.shape)
