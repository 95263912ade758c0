"""Checks proofs from bytes alone: the key's two parts, the commitment, the proof."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from typing_extensions import override

from balance_core.contracts import Verifier
from balance_core.errors import ConfigError, InvalidProof
from balance_core.integer.interface import STRUCTURE_PART, read_interface
from balance_zkml import NAME, native

if TYPE_CHECKING:
    from balance_core.records import ModelCommitment, Proof, SetupTrust, Statement, VerifyingKey

KEY_PART = "key"
"""The native part of the verifying key: halo2's key, the string's points, and the structure's digest."""


class Halo2Verifier(Verifier):
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
                found.inputs,
                found.outputs,
                commitment_id=None if commitment is None else commitment.commitment_id,
            ),
        )


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


def _data(commitment: ModelCommitment | None) -> bytes | None:
    if commitment is None:
        return None
    if commitment.backend != NAME:
        raise InvalidProof(f"the commitment is of {commitment.backend}, not of {NAME}")
    return bytes.fromhex(commitment.data)


def _digest(structure: bytes) -> str:
    from balance_core import canonical

    return canonical.digest("integer-model/structure/1", structure)
