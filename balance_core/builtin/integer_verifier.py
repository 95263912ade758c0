"""The verifier of the reference backend: it runs the integer model again, and compares.

Its key is the whole integer model: structure and weights. It proves nothing to anybody who does not run the model.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from balance_core import canonical
from balance_core.contracts import Verifier
from balance_core.errors import BalanceError, ConfigError, InvalidProof
from balance_core.integer.interface import STRUCTURE_PART, read_interface, read_structure
from balance_core.records import Context, Digest, Record, SetupTrust, Trust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.interface import Interface
    from balance_core.integer.model import IntegerModel
    from balance_core.records import ModelCommitment, Proof, Statement, VerifyingKey

NAME = "integer"
WEIGHTS_PART = "weights"
MAX_PROOF_BYTES = 2**26
"""Largest proof that is read."""
NOTE = "re-execution, no proof: it convinces only those who run the model themselves"


class Answer(Record):
    """One request and its answer: the integers of all inputs and outputs, in the model's order."""

    kind: ClassVar[str] = "integer-answer"
    context: Context
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]


class ReExecution(Record):
    """The "proof": answers, under a digest of the circuit and of them, which anybody can compute.

    The digest keeps answers, contexts and circuits together; it makes none of them true.
    """

    kind: ClassVar[str] = "integer-proof"
    answers: tuple[Answer, ...]
    seal: Digest


def seal(circuit_id: str, answers: Sequence[Answer]) -> str:
    """Return the digest that binds answers to a circuit."""
    return canonical.digest("integer-proof/1", bytes.fromhex(circuit_id), *(answer.to_json() for answer in answers))


@lru_cache(maxsize=1)
def read_model(structure: bytes, weights: bytes) -> IntegerModel:
    """Read the integer model of a key; raises InvalidProof for anything else than one with all its weights."""
    from balance_core.integer.encoding import decode_weights

    try:
        return decode_weights(read_structure(structure), weights)
    except ConfigError as error:
        raise InvalidProof(f"the verifying key is broken: {error.message}") from error


class IntegerVerifier(Verifier):
    """Runs the model again; the statement holds what came out."""

    api_version = 1

    @override
    def verify(self, key: VerifyingKey, commitment: ModelCommitment | None, proof: Proof) -> tuple[Statement, ...]:
        if commitment is not None:
            raise InvalidProof("the key holds the weights, and there is nothing that a commitment could be to")
        model = self._model(key)
        if proof.backend != NAME:
            raise InvalidProof(f"the proof is of the backend {proof.backend!r}")
        try:
            sealed = ReExecution.from_json(proof.data, max_size=MAX_PROOF_BYTES)
        except ConfigError as error:
            raise InvalidProof(error.message) from error
        if not sealed.answers or sealed.seal != seal(key.circuit_id, sealed.answers):
            raise InvalidProof("the answers are not those that were sealed for this circuit")
        interface = read_interface(key.parts[STRUCTURE_PART])
        return tuple(_statement(key.circuit_id, model, interface, answer) for answer in sealed.answers)

    @override
    def setup_trust(self, key: VerifyingKey) -> SetupTrust:
        self._model(key)
        return SetupTrust(trust=Trust.TRANSPARENT)

    @staticmethod
    def _model(key: VerifyingKey) -> IntegerModel:
        if key.backend != NAME or set(key.parts) != {STRUCTURE_PART, WEIGHTS_PART}:
            raise InvalidProof("a verifying key of this backend holds a structure, its weights and nothing else")
        return read_model(key.parts[STRUCTURE_PART], key.parts[WEIGHTS_PART])


def _statement(circuit_id: str, model: IntegerModel, interface: Interface, answer: Answer) -> Statement:
    """Run the model on an answer's inputs; raises InvalidProof unless they give its outputs."""
    import numpy as np

    from balance_core.integer.executor import execute_integers

    stated = interface.statement(circuit_id, bytes.fromhex(answer.context), answer.inputs, answer.outputs)
    arrays = {
        op.label: np.array(values, dtype=np.int64).reshape(1, *op.to)
        for values, (_, op) in zip(answer.inputs, model.inputs, strict=True)
    }
    try:
        outputs = execute_integers(model, arrays).outputs
    except BalanceError as error:
        raise InvalidProof(f"the model cannot be run: {error.message}") from error
    if any(outputs[tensor.name].reshape(-1).tolist() != list(tensor.integers) for tensor in stated.outputs):
        raise InvalidProof("the model answers otherwise")
    return stated
