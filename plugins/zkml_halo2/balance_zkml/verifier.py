"""Checks proofs from bytes alone: the key's two parts, the commitment, the proof."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from typing_extensions import override

from balance_core.contracts import OpensInputs, Verifier
from balance_core.errors import ConfigError, InvalidProof
from balance_core.integer.interface import STRUCTURE_PART, read_interface, stated_inputs
from balance_zkml import NAME, native

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from balance_core.integer.interface import Interface
    from balance_core.records import (
        HiddenTensor,
        ModelCommitment,
        Proof,
        SetupTrust,
        Statement,
        Tensor,
        VerifyingKey,
    )

KEY_PART = "key"
"""The native part of the verifying key: halo2's key, the string's points, and the structure's digest."""


HIDING = "kzg-bn254-columns/1"
"""The scheme of hidden inputs: a point for each column of the circuit that holds them, the same for all inputs."""


class Halo2Verifier(Verifier, OpensInputs):
    """Verifies with the native verifier, and states what the proof authenticates."""

    api_version = 1
    sound = True

    @classmethod
    @override
    def warm_up(cls, stage: str) -> None:
        del stage
        import balance_core.integer.encoding  # noqa: F401

        native.load(prover=False)

    @override
    def setup_trust(self, key: VerifyingKey) -> SetupTrust:
        native_key, _ = _parts(key)
        return _trust(native_key)

    @override
    def verify(self, key: VerifyingKey, commitment: ModelCommitment | None, proof: Proof) -> tuple[Statement, ...]:
        if proof.backend != NAME:
            raise InvalidProof(f"the proof is of {proof.backend}, not of {NAME}")
        native_key, structure = _parts(key)
        interface = read_interface(structure)
        found = native.verify(native_key, _data(commitment), proof.data)
        if found.structure_digest != _digest(structure):
            raise InvalidProof("the key's structure is not the one that the circuit was made for")
        return (
            interface.statement(
                key.circuit_id,
                found.context,
                found.inputs if found.hidden is None else _hidden(interface, found.hidden),
                found.outputs,
                commitment_id=None if commitment is None else commitment.commitment_id,
            ),
        )

    @override
    def stated(self, key: VerifyingKey, inputs: Mapping[str, np.ndarray]) -> tuple[Tensor, ...]:
        return stated_inputs(_parts(key)[1], inputs)

    @override
    def hidden(
        self, key: VerifyingKey, context: bytes, inputs: Sequence[Tensor], blind: bytes
    ) -> tuple[HiddenTensor, ...]:
        native_key, structure = _parts(key)
        interface = read_interface(structure)
        wanted = [(port.name, port.shape) for port in interface.inputs]
        if [(tensor.name, tensor.shape) for tensor in inputs] != wanted:
            raise InvalidProof("the inputs are not those of the key's model")
        plain = tuple(port.tensor(given.integers) for port, given in zip(interface.inputs, inputs, strict=True))
        if plain != tuple(inputs):
            raise InvalidProof("the inputs stand for other numbers than the key says")
        return _hidden(interface, native.hide(native_key, context, [tensor.integers for tensor in plain], blind))


def _hidden(interface: Interface, commitments: bytes) -> tuple[HiddenTensor, ...]:
    """Return all inputs behind the commitments, which hold them together."""
    return tuple(port.hidden(HIDING, commitments) for port in interface.inputs)


@lru_cache(maxsize=4)
def _trust(native_key: bytes) -> SetupTrust:
    """Judge a key's parameters, once for all proofs under it: checking their points costs half as much as a proof."""
    from balance_core.srs import Parameters

    try:
        return Parameters.of_cut(native.parameters(native_key)).setup_trust
    except ConfigError as error:
        raise InvalidProof(f"the verifying key is broken: {error.message}") from error


def _parts(key: VerifyingKey) -> tuple[bytes, bytes]:
    """Return the native part and the structure; raises InvalidProof unless the key has these two."""
    if key.backend != NAME:
        raise InvalidProof(f"the key is of {key.backend}, not of {NAME}")
    if set(key.parts) != {KEY_PART, STRUCTURE_PART}:
        raise InvalidProof(f"a key of {NAME} has the parts {KEY_PART} and {STRUCTURE_PART}, not {sorted(key.parts)}")
    return key.parts[KEY_PART], key.parts[STRUCTURE_PART]


def _data(commitment: ModelCommitment | None) -> tuple[bytes, bytes] | None:
    if commitment is None:
        return None
    if commitment.backend != NAME:
        raise InvalidProof(f"the commitment is of {commitment.backend}, not of {NAME}")
    return bytes.fromhex(commitment.data), bytes.fromhex(commitment.provider)


def _digest(structure: bytes) -> str:
    from balance_core import canonical

    return canonical.digest("integer-model/structure/1", structure)
