"""Numbers on their way in and out: of exactly a model's types and shapes, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.records import Tensor, TensorSpec


def shown(tensor: Tensor, spec: TensorSpec) -> np.ndarray:
    """Return an output's numbers in the model's own type, to which they are rounded."""
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "biu" and tensor.scale == 1:
        integers = np.array(tensor.integers, dtype=object).reshape(tensor.shape) - tensor.zero_point
        return integers.astype(dtype)
    return tensor.real().astype(dtype)


def typed(inputs: Any, specs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """Return arrays of exactly the model's types and shapes; raises ConfigError where a number would change."""
    if not isinstance(inputs, dict):
        if len(specs) != 1:
            raise ConfigError(f"the model has {len(specs)} inputs", hint="give a dict with an array for each")
        inputs = {specs[0].name: inputs}
    known = {spec.name: spec for spec in specs}
    if inputs.keys() != known.keys():
        raise ConfigError(f"these are not the model's inputs: {', '.join(inputs)}", hint=f"give {', '.join(known)}")
    return {name: _fitting(inputs[name], spec) for name, spec in known.items()}


def _fitting(value: Any, spec: TensorSpec) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ConfigError(f"input {spec.name!r} has rows of different lengths or depths") from error
    if array.dtype.kind not in "biuf" or array.size != spec.size:
        raise ConfigError(
            f"input {spec.name!r} has shape {list(array.shape)} and type {array.dtype}",
            hint=f"give {spec.dtype} of shape {list(spec.shape)}",
        )
    with np.errstate(invalid="ignore", over="ignore"):
        converted = array.astype(spec.dtype)
    if array.dtype.kind != "f" and not np.array_equal(converted.astype(array.dtype), array):
        raise ConfigError(f"input {spec.name!r} holds numbers that {spec.dtype} does not")
    if array.dtype.kind == "f" and converted.dtype.kind != "f" and not np.array_equal(converted, array):
        raise ConfigError(f"input {spec.name!r} takes {spec.dtype}, not fractions")
    return converted.reshape(spec.shape)
