"""The verifier of the reference backend: it runs the integer model again, and compares.

Its key is the whole integer model, weights included. It proves nothing to anybody who does not run the model.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from balance_core import canonical
from balance_core.contracts import Verifier
from balance_core.errors import BalanceError, ConfigError, InvalidProof
from balance_core.records import Context, Digest, Record, SetupTrust, Statement, Tensor, Trust

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from balance_core.integer.model import IntegerModel
    from balance_core.integer.model import Node as IntegerNode
    from balance_core.records import ModelCommitment, Proof, VerifyingKey

NAME = "integer"
KEY_PART = "model"
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


def read_model(data: bytes) -> IntegerModel:
    """Read the integer model of a key; raises ConfigError for anything else than one with all its weights."""
    model = _decoded(data)
    if len(model.weights) != len(model.weight_nodes):
        raise ConfigError("the integer model of the key lacks its weights")
    return model


@lru_cache(maxsize=1)
def _decoded(data: bytes) -> IntegerModel:
    from balance_core.integer.encoding import loads

    return loads(data)


def tensor(name: str, node: IntegerNode, integers: np.ndarray) -> Tensor:
    """Return integers with what they mean."""
    return Tensor(
        name=name,
        shape=tuple(int(n) for n in integers.shape),
        integers=tuple(integers.reshape(-1).tolist()),
        numerator=node.scale.numerator,
        denominator=node.scale.denominator,
        zero_point=node.zero_point,
    )


def output_tensors(model: IntegerModel, outputs: Mapping[str, np.ndarray], sample: int) -> tuple[Tensor, ...]:
    """Return what one sample of a batch was answered."""
    return tuple(
        tensor(output.name, model.nodes[output.tensor], outputs[output.name][sample]) for output in model.outputs
    )


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
        return tuple(_statement(key.circuit_id, model, answer) for answer in sealed.answers)

    @override
    def setup_trust(self, key: VerifyingKey) -> SetupTrust:
        self._model(key)
        return SetupTrust(trust=Trust.TRANSPARENT)

    @staticmethod
    def _model(key: VerifyingKey) -> IntegerModel:
        if key.backend != NAME or set(key.parts) != {KEY_PART}:
            raise InvalidProof("a verifying key of this backend holds an integer model and nothing else")
        try:
            return read_model(key.parts[KEY_PART])
        except ConfigError as error:
            raise InvalidProof(f"the verifying key is broken: {error.message}") from error


def _statement(circuit_id: str, model: IntegerModel, answer: Answer) -> Statement:
    """Run the model on an answer's inputs; raises InvalidProof unless they give its outputs."""
    import numpy as np

    from balance_core.integer.executor import execute_integers

    if len(answer.inputs) != len(model.inputs):
        raise InvalidProof(f"{len(answer.inputs)} inputs are given, and the model has {len(model.inputs)}")
    arrays, inputs = {}, []
    for values, (place, op) in zip(answer.inputs, model.inputs, strict=True):
        if len(values) != model.facts[place].size:
            raise InvalidProof(f"input {op.label} has {len(values)} integers, not {model.facts[place].size}")
        if min(values, default=0) < op.lo or max(values, default=0) > op.hi:
            raise InvalidProof(f"input {op.label} leaves its interval [{op.lo}, {op.hi}]")
        arrays[op.label] = np.array(values, dtype=np.int64).reshape(1, *op.to)
        inputs.append(tensor(op.label, model.nodes[place], arrays[op.label][0]))
    try:
        outputs = output_tensors(model, execute_integers(model, arrays).outputs, 0)
    except BalanceError as error:
        raise InvalidProof(f"the model cannot be run: {error.message}") from error
    if tuple(output.integers for output in outputs) != answer.outputs:
        raise InvalidProof("the model answers otherwise")
    return Statement(circuit_id=circuit_id, context=answer.context, inputs=tuple(inputs), outputs=outputs)
