"""The files that the three commands write and read, after those of the zkml project's programs.

- `vkey`: the verifying key and, where the weights are private, the model commitment: all that checking a proof takes.
- `proof`: the proof's bytes.
- `public_vals`: every element of every output in row-major order, each as 32 bytes, a little-endian residue below r.
- `out.msgpack`: the integers of the first output.

The layout of the last two is the zkml project's own; keys and proofs are ours.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, ClassVar

from pydantic import ValidationError

from balance_core.bn254 import R
from balance_core.errors import ConfigError, InvalidProof
from balance_core.files import read_limited, write_output
from balance_core.records import ModelCommitment, Record, VerifyingKey
from balance_zkml import NAME

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from balance_core.converters.zkml.reader import ZkmlModel
    from balance_core.integer.interface import Interface
    from balance_core.records import Tensor

MAX_FILE = 2**27
"""Largest file that is read, in bytes."""
VALUE_BYTES = 32


class KeyFile(Record):
    """What a `vkey` file holds: the key's parts in base64, and the commitment."""

    kind: ClassVar[str] = "zkml-key"
    parts: dict[str, str]
    commitment: ModelCommitment | None = None


def write_key(path: Path, key: VerifyingKey, commitment: ModelCommitment | None) -> int:
    """Write a key file and return its size in bytes."""
    parts = {name: base64.b64encode(data).decode() for name, data in key.parts.items()}
    data = KeyFile(parts=parts, commitment=commitment).to_json()
    write_output(path, data)
    return len(data)


def read_key(path: Path) -> tuple[VerifyingKey, ModelCommitment | None]:
    """Read a key file; raises ConfigError for any other."""
    data = read_limited(path, max_size=MAX_FILE, what="key file")
    try:
        held = KeyFile.from_json(data, max_size=MAX_FILE)
        parts = {name: base64.b64decode(text, validate=True) for name, text in held.parts.items()}
    except (ConfigError, ValidationError, binascii.Error, ValueError) as error:
        raise ConfigError(
            f"{path.name} is no key file of {NAME}",
            hint="give the vkey of `balance zkml time-circuit`; the zkml project's own keys are of other circuits",
        ) from error
    return VerifyingKey(NAME, parts), held.commitment


def public_values(outputs: Sequence[Tensor]) -> bytes:
    """Return the outputs in the zkml project's layout."""
    return b"".join((value % R).to_bytes(VALUE_BYTES, "little") for out in outputs for value in out.integers)


def check_public_values(claimed: bytes, outputs: Sequence[Tensor]) -> None:
    """Raise InvalidProof unless the file says exactly what was proven."""
    proven = public_values(outputs)
    if len(claimed) != len(proven):
        raise InvalidProof(
            f"the public values are {len(claimed)} bytes, and {len(proven) // VALUE_BYTES} values were proven"
        )
    if claimed != proven:
        at = next(i for i in range(0, len(proven), VALUE_BYTES) if claimed[i : i + 32] != proven[i : i + 32])
        raise InvalidProof(f"public value {at // VALUE_BYTES} is another than the one that was proven")


def check_configuration(configuration: ZkmlModel, interface: Interface) -> None:
    """Raise ConfigError unless a key has the scale, inputs and outputs of a configuration.

    It keeps mix-ups out, and proves nothing: what a proof is about is told by the key alone.
    """
    from fractions import Fraction

    from balance_core.converters.zkml.reader import input_name

    made = {
        number: shape
        for layer in configuration.layers
        for number, shape in zip(layer.outputs, layer.output_shapes, strict=True)
    }
    # Inputs and weights look alike in a configuration: it lists none of them, or all.
    given = {
        (input_name(number), shape)
        for layer in configuration.layers
        for number, shape in zip(layer.inputs, layer.input_shapes, strict=True)
    }
    agrees = {
        "inputs": {(port.name, port.shape) for port in interface.inputs} <= given,
        "outputs": [port.shape for port in interface.outputs] == [made.get(each) for each in configuration.outputs],
        "scale": {port.scale for port in interface.outputs} == {Fraction(1, configuration.scale)},
    }
    for what, agreed in agrees.items():
        if not agreed:
            raise ConfigError(
                f"the configuration is of another model than the key: its {what} differ",
                hint="give the config.msgpack that belongs to the model of the key",
            )
