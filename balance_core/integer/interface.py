"""What a verifier reads from a verifying key: the inputs and outputs that the structure of an integer model declares.

A statement is made of authenticated integers and of this alone; weights are not needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

from balance_core.errors import ConfigError, InvalidProof
from balance_core.records import MAX_TENSOR_ELEMENTS, HiddenTensor, Statement, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    import numpy as np

    from balance_core.integer.model import IntegerModel

STRUCTURE_PART = "structure"
"""The part of a verifying key that holds the structure's canonical bytes."""
MAX_STRUCTURE_BYTES = 2**26
"""Largest structure that is read from a key."""


@dataclass(frozen=True)
class Port:
    """One input or output: integer q in [lo, hi] means (q - zero_point) * scale."""

    name: str
    shape: tuple[int, ...]
    lo: int
    hi: int
    scale: Fraction
    zero_point: int

    @property
    def size(self) -> int:
        """The number of integers, in row-major order."""
        return prod(self.shape)

    def tensor(self, integers: Sequence[int]) -> Tensor:
        """Return integers with what they mean; raises InvalidProof for another number of them, or one outside."""
        if len(integers) != self.size:
            raise InvalidProof(f"{self.name} has {len(integers)} integers, not {self.size}")
        if min(integers) < self.lo or max(integers) > self.hi:
            raise InvalidProof(f"{self.name} leaves its interval [{self.lo}, {self.hi}]")
        return Tensor(
            name=self.name,
            shape=self.shape,
            integers=tuple(map(int, integers)),
            numerator=self.scale.numerator,
            denominator=self.scale.denominator,
            zero_point=self.zero_point,
        )

    def hidden(self, scheme: str, commitment: bytes) -> HiddenTensor:
        """Return the commitment that stands for a private input."""
        return HiddenTensor(name=self.name, shape=self.shape, scheme=scheme, commitment=commitment.hex())


@dataclass(frozen=True)
class Interface:
    """Inputs in the order of their nodes, outputs in the order of the structure: the order of all public integers."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @classmethod
    def of(cls, structure: IntegerModel) -> Interface:
        """Return the interface of an integer model, with or without weights."""

        def port(name: str, place: int) -> Port:
            node, fact = structure.nodes[place], structure.facts[place]
            return Port(name, fact.shape, fact.lo, fact.hi, node.scale, node.zero_point)

        return cls(
            tuple(port(op.label, place) for place, op in structure.inputs),
            tuple(port(output.name, output.tensor) for output in structure.outputs),
        )

    def split(self, integers: Sequence[int]) -> tuple[list[Sequence[int]], list[Sequence[int]]]:
        """Divide all inputs' integers, then all outputs', laid end to end; raises InvalidProof for another number."""
        ports = (*self.inputs, *self.outputs)
        expected = sum(port.size for port in ports)
        if len(integers) != expected:
            raise InvalidProof(f"there are {len(integers)} public integers, not {expected}")
        parts, at = [], 0
        for port in ports:
            parts.append(integers[at : at + port.size])
            at += port.size
        return parts[: len(self.inputs)], parts[len(self.inputs) :]

    def statement(
        self,
        circuit_id: str,
        context: bytes,
        inputs: Sequence[Sequence[int] | HiddenTensor],
        outputs: Sequence[Sequence[int]],
        *,
        commitment_id: str | None = None,
    ) -> Statement:
        """Return the statement that authenticated integers make, for each tensor in order.

        Each is checked against its declared interval; raises InvalidProof.
        """
        if len(context) != 32:
            raise InvalidProof(f"a context has 32 bytes, not {len(context)}")
        if len(inputs) != len(self.inputs) or len(outputs) != len(self.outputs):
            raise InvalidProof(
                f"{len(inputs)} inputs and {len(outputs)} outputs are stated; "
                f"the model has {len(self.inputs)} and {len(self.outputs)}"
            )
        return Statement(
            circuit_id=circuit_id,
            commitment_id=commitment_id,
            context=context.hex(),
            inputs=tuple(
                given if isinstance(given, HiddenTensor) else port.tensor(given)
                for port, given in zip(self.inputs, inputs, strict=True)
            ),
            outputs=tuple(port.tensor(given) for port, given in zip(self.outputs, outputs, strict=True)),
        )


def stated_inputs(structure: bytes, inputs: Mapping[str, np.ndarray]) -> tuple[Tensor, ...]:
    """Return inputs as a statement of this structure holds public ones; raises ConfigError and InvalidProof."""
    from balance_core.integer.executor import checked_integers
    from balance_core.model.integers import quantised

    model = read_structure(structure)
    batch = quantised(model, {name: array[None] for name, array in inputs.items()})
    integers = checked_integers(model, batch)
    ports = Interface.of(model).inputs
    return tuple(
        port.tensor(integers[place].reshape(-1).tolist())
        for port, (place, _) in zip(ports, model.inputs, strict=True)
    )


@lru_cache(maxsize=2)
def read_structure(data: bytes) -> IntegerModel:
    """Read the structure in a verifying key; raises InvalidProof for other bytes than `structure_bytes` writes."""
    from balance_core.integer.encoding import decode_structure

    try:
        return decode_structure(data, max_size=MAX_STRUCTURE_BYTES)
    except ConfigError as error:
        raise InvalidProof(f"the verifying key is broken: {error.message}") from error


def read_interface(data: bytes) -> Interface:
    """Read inputs and outputs from the structure in a verifying key; raises InvalidProof."""
    interface = Interface.of(read_structure(data))
    if sum(port.size for port in (*interface.inputs, *interface.outputs)) > MAX_TENSOR_ELEMENTS:
        raise InvalidProof(f"the key's model has more than {MAX_TENSOR_ELEMENTS} public integers")
    return interface


def structure_bytes(model: IntegerModel) -> bytes:
    """Return the structure as a verifying key holds it: no weights and no names of nodes."""
    from balance_core.integer.encoding import encode_structure

    return encode_structure(model)
