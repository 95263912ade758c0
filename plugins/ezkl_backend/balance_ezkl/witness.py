"""Answers without a proof: quantise, let ezkl compute its witness, and read the outputs that a proof would state."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import ConfigError, ToolFailed
from balance_core.records import Tensor, TensorSpec
from balance_ezkl import field
from balance_ezkl.key import LIMB_BITS, OUTPUT_LIMIT
from balance_ezkl.tool import EzklFailed, call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CONTEXT_BYTES = 32


def limbs(context: bytes) -> list[int]:
    """Return the context as the circuit's 16 integers; raises ConfigError unless it has 32 bytes."""
    if len(context) != CONTEXT_BYTES:
        raise ConfigError(f"the context has {len(context)} bytes, not {CONTEXT_BYTES}")
    size = LIMB_BITS // 8
    return [int.from_bytes(context[i : i + size], "big") for i in range(0, CONTEXT_BYTES, size)]


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


@dataclass(frozen=True)
class Answer:
    """What ezkl computed for one sample: the outputs as integers, and the inputs of lookup tables."""

    outputs: list[list[int]]
    lookups: tuple[int, int]


def compute(
    compiled: Path,
    inputs: Sequence[Sequence[int]],
    context: bytes,
    *,
    lookup_range: tuple[int, int] | None = None,
    target: Path | None = None,
) -> Answer:
    """Let ezkl answer one sample; raises ConfigError where a value leaves the range that the circuit has for it.

    ezkl itself checks the digits of values and not the inputs of tables, which are held against `lookup_range`. The
    witness that `prove` needs is written to `target`.
    """
    given = [field.encode_all(values) for values in (limbs(context), *inputs)]
    data = json.dumps({"input_data": given})
    try:
        witness = call("gen_witness", data, str(compiled), None if target is None else str(target))
    except EzklFailed as error:
        # A compiled graph has been laid out before, so what is left to fail is a value without digits.
        if "synthesis error" not in error.reason:
            raise
        raise _out_of_range("a value has more digits than the circuit checks", "-o headroom_bits=4") from error
    if witness["inputs"] != given:
        raise ToolFailed("ezkl took other inputs than it was given")
    low, high = int(witness["min_lookup_inputs"]), int(witness["max_lookup_inputs"])
    if lookup_range is not None and not lookup_range[0] <= low <= high <= lookup_range[1]:
        raise _out_of_range(
            f"a lookup table from {lookup_range[0]} to {lookup_range[1]} is asked for {low if low < 0 else high}",
            "-o lookup_safety_margin=4",
        )
    outputs = [[field.decode(text) for text in values] for values in witness["outputs"]]
    if any(abs(value) >= OUTPUT_LIMIT for values in outputs for value in values):
        raise _out_of_range("an output has more than 127 bits", "-o input_scale=6")
    return Answer(outputs, (low, high))


def _out_of_range(what: str, option: str) -> ConfigError:
    return ConfigError(
        f"this input is out of the range that the circuit was set up for: {what}",
        hint=f"set the circuit up with samples like it, or with more room: {option}",
    )


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
