"""The checking side: a proof of the key's program, and the statement in its output segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from balance_core.contracts import Verifier
from balance_core.errors import InvalidProof
from balance_core.integer.interface import STRUCTURE_PART, read_interface
from balance_core.records import SetupTrust, Trust
from balance_orion import NAME
from balance_orion.key import PROGRAM_PART, ProgramKey
from balance_orion.machine import P
from balance_orion.native import verifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.records import ModelCommitment, Proof, Statement, VerifyingKey

_HALF = 2**128
"""The context is two numbers below this."""


class OrionVerifier(Verifier):
    """Accepts a run of the program whose hash the key holds, and states what it wrote.

    The output segment is context (two halves of 16 bytes, big-endian), all inputs, all outputs; a negative integer
    v is the field's order less |v|. The program asserts the outputs; that inputs are in their intervals is checked
    here.
    """

    api_version = 1
    sound: ClassVar[bool] = True

    @override
    def verify(self, key: VerifyingKey, commitment: ModelCommitment | None, proof: Proof) -> tuple[Statement, ...]:
        if commitment is not None:
            raise InvalidProof(f"keys of {NAME} bind the weights: there is no commitment to them")
        program = _program(key)
        if proof.backend != NAME:
            raise InvalidProof(f"the proof is of the backend {proof.backend!r}")
        interface = read_interface(key.parts[STRUCTURE_PART])
        try:
            words = verifier().verify(program.program_hash, proof.data, queries=program.queries)
        except ValueError as error:
            raise InvalidProof(f"the proof does not verify: {error}") from error
        context, integers = decode([int.from_bytes(word, "little") for word in words])
        inputs, outputs = interface.split(integers)
        return (interface.statement(key.circuit_id, context, inputs, outputs),)

    @override
    def setup_trust(self, key: VerifyingKey) -> SetupTrust:
        _program(key)
        read_interface(key.parts[STRUCTURE_PART])
        return SetupTrust(trust=Trust.TRANSPARENT)


def decode(words: Sequence[int]) -> tuple[bytes, list[int]]:
    """Return context and integers of an output segment; raises InvalidProof."""
    if len(words) < 2 or max(words[:2]) >= _HALF:
        raise InvalidProof("the output does not begin with a context")
    context = b"".join(half.to_bytes(16, "big") for half in words[:2])
    return context, [word if 2 * word < P else word - P for word in words[2:]]


def _program(key: VerifyingKey) -> ProgramKey:
    if key.backend != NAME or set(key.parts) != {PROGRAM_PART, STRUCTURE_PART}:
        raise InvalidProof(f"a verifying key of {NAME} holds a structure and the hash of a program, and nothing else")
    return ProgramKey.read(key.parts[PROGRAM_PART])
