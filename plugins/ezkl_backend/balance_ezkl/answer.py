"""Answers without a proof: ezkl computes its witness, which holds the outputs that a proof would state.

Whoever answers samples imports this and ezkl, and nothing that takes longer to import than to answer.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from balance_core.errors import ConfigError, ToolFailed
from balance_ezkl import field
from balance_ezkl.field import LIMB_BITS, OUTPUT_LIMIT
from balance_ezkl.tool import EzklFailed, call

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONTEXT_BYTES = 32


def limbs(context: bytes) -> list[int]:
    """Return the context as the circuit's 16 integers; raises ConfigError unless it has 32 bytes."""
    if len(context) != CONTEXT_BYTES:
        raise ConfigError(f"the context has {len(context)} bytes, not {CONTEXT_BYTES}")
    size = LIMB_BITS // 8
    return [int.from_bytes(context[i : i + size], "big") for i in range(0, CONTEXT_BYTES, size)]


class Answer(NamedTuple):
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
