"""An honest mock: it proves nothing, and keeps every promise that the kit can try.

A proof is the request and its answer, sealed under the circuit; the verifier computes the answer again. Anybody can
make such a proof, but only of what is true. The steps are methods of their own, so that a cheat can do one otherwise.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from balance_core import canonical
from balance_core.contracts import ProofBackend, Verifier
from balance_core.errors import ConfigError, InvalidProof, UnsupportedModel
from balance_core.model import reference
from balance_core.records import (
    Circuit,
    Context,
    Digest,
    Proof,
    Record,
    SetupTrust,
    Statement,
    Tensor,
    Trust,
    VerifyingKey,
)
from balance_core.settings import Settings
from balance_core.stages import Capabilities, Estimate, NodeProblem, Support

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from balance_core.contracts import Batch, Job, Request, Samples
    from balance_core.model import Model
    from balance_core.records import ModelCommitment, Opening

MAX_PROOF_BYTES = 2**20
OPERATORS = {"Add", "Gemm", "MatMul", "Relu"}


class Answer(Record):
    kind: ClassVar[str] = "honest-answer"
    context: Context
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]


class SealedAnswers(Record):
    kind: ClassVar[str] = "honest-proof"
    answers: tuple[Answer, ...]
    seal: Digest


class Rules(Record):
    """What the verifier relies on beside the model: the interface and the grid of the public values."""

    kind: ClassVar[str] = "honest-rules"
    bits: int
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]


class HonestSettings(Settings):
    """How fine the public values are."""

    bits: int = Field(default=12, ge=1, le=20, description="binary digits behind the point of a public value")


def tensors(interface: Sequence[tuple[str, tuple[int, ...]]], values: Sequence[Sequence[int]], bits: int) -> Any:
    return tuple(
        Tensor(name=name, shape=shape, integers=tuple(integers), denominator=2**bits)
        for (name, shape), integers in zip(interface, values, strict=True)
    )


def rounded(array: np.ndarray, bits: int) -> tuple[int, ...]:
    return tuple(int(value) for value in np.rint(np.asarray(array, np.float64).ravel() * 2**bits))


@cache
def evaluate(model: bytes, rules: Rules, inputs: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Run the model on the grid; everybody who does so gets the same integers."""
    batch = {
        name: (np.array(values, np.float64) / 2**rules.bits).astype(np.float32).reshape(1, *shape)
        for (name, shape), values in zip(rules.inputs, inputs, strict=True)
    }
    outputs = reference.run(model, batch)
    return tuple(rounded(outputs[name], rules.bits) for name, _ in rules.outputs)


def seal(circuit_id: str, answers: Sequence[Answer]) -> str:
    return canonical.digest("honest/1", circuit_id.encode(), *(answer.to_json() for answer in answers))


class HonestBackend(ProofBackend):
    """A mock whose proofs are the answers themselves."""

    api_version = 1
    version = "1"
    settings_class = HonestSettings
    settings: HonestSettings
    capabilities = Capabilities(binds_context=True, batch=True, deterministic=True, transparent_setup=True)

    def check(self, model: Model) -> Support:
        nodes = [node for node in model.proto().graph.node if node.domain or node.op_type not in OPERATORS]
        problems = [
            NodeProblem(node=node.name, operator=node.op_type, reason="not an operator of this mock")
            for node in nodes
        ]
        return Support(problems=tuple(problems), estimate=Estimate(memory_bytes=2**26))

    def setup(self, model: Model, samples: Samples, job: Job) -> Circuit:
        del samples
        problems = self.check(model).problems
        if problems:
            issues = [(found.node, found.operator, found.reason) for found in problems]
            raise UnsupportedModel("the mock cannot take this model", issues=issues)
        return Circuit(
            backend="honest",
            backend_version=self.version,
            model_id=model.model_id,
            settings=self.settings.model_dump(mode="json"),
            inputs=model.inputs,
            outputs=model.outputs,
            setup_trust=SetupTrust(trust=Trust.TRANSPARENT),
            key={name: self.publish(job, name, data) for name, data in self.key_parts(model).items()},
        )

    def key_parts(self, model: Model) -> dict[str, bytes]:
        rules = Rules(
            bits=self.settings.bits,
            inputs=tuple((spec.name, spec.shape) for spec in model.inputs),
            outputs=tuple((spec.name, spec.shape) for spec in model.outputs),
        )
        return {"model": model.onnx, "rules": rules.to_json()}

    def publish(self, job: Job, name: str, data: bytes) -> str:
        (job.scratch / name).write_bytes(data)
        return job.publish(job.scratch / name)

    def execute(self, circuit: Circuit, opening: Opening, inputs: Batch, job: Job) -> list[tuple[Tensor, ...]]:
        key = self.read_key(circuit, opening, job)
        rules = Rules.from_json(key["rules"])
        samples = [dict(zip(inputs, rows, strict=True)) for rows in zip(*inputs.values(), strict=True)]
        answered = [evaluate(key["model"], rules, self.grid(rules, sample)) for sample in samples]
        return [tensors(rules.outputs, outputs, rules.bits) for outputs in answered]

    def read_key(self, circuit: Circuit, opening: Opening, job: Job) -> dict[str, bytes]:
        del opening
        return {name: job.path(address).read_bytes() for name, address in circuit.key.items()}

    def grid(self, rules: Rules, inputs: Mapping[str, np.ndarray]) -> tuple[tuple[int, ...], ...]:
        return tuple(rounded(inputs[name], rules.bits) for name, _ in rules.inputs)

    def prove(self, circuit: Circuit, opening: Opening, requests: Sequence[Request], job: Job) -> Proof:
        if not requests or (len(requests) > 1 and not self.capabilities.batch):
            raise ConfigError(f"the mock does not prove {len(requests)} requests at once")
        key = self.read_key(circuit, opening, job)
        rules = Rules.from_json(key["rules"])
        answers = []
        for number, request in enumerate(requests):
            job.progress(f"request {number}", number / len(requests))
            inputs = self.grid(rules, request.inputs)
            context = request.context.hex()
            answers.append(Answer(context=context, inputs=inputs, outputs=evaluate(key["model"], rules, inputs)))
        return self.proof(circuit, answers)

    def proof(self, circuit: Circuit, answers: list[Answer]) -> Proof:
        sealed = SealedAnswers(answers=tuple(answers), seal=seal(circuit.circuit_id, answers))
        return Proof("honest", sealed.to_json())


class HonestVerifier(Verifier):
    """Checks the mock's proofs by computing every answer again."""

    api_version = 1

    def verify(self, key: VerifyingKey, commitment: ModelCommitment | None, proof: Proof) -> tuple[Statement, ...]:
        self.check_commitment(commitment)
        model, rules = self.read_key(key)
        sealed = self.read(proof)
        self.check_seal(key, sealed)
        return tuple(self.statement(key, model, rules, answer) for answer in sealed.answers)

    def check_commitment(self, commitment: ModelCommitment | None) -> None:
        if commitment is not None:
            raise InvalidProof("the key binds the weights, and there is nothing to commit to")

    def read_key(self, key: VerifyingKey) -> tuple[bytes, Rules]:
        if set(key.parts) != {"model", "rules"}:
            raise InvalidProof("a verifying key of this mock has a model and rules")
        try:
            return key.parts["model"], Rules.from_json(key.parts["rules"])
        except ConfigError as error:
            raise InvalidProof(f"the verifying key is broken: {error.message}") from error

    def read(self, proof: Proof) -> SealedAnswers:
        try:
            return SealedAnswers.from_json(proof.data, max_size=MAX_PROOF_BYTES)
        except ConfigError as error:
            raise InvalidProof(error.message) from error

    def check_seal(self, key: VerifyingKey, sealed: SealedAnswers) -> None:
        if not sealed.answers or sealed.seal != seal(key.circuit_id, sealed.answers):
            raise InvalidProof("the seal does not fit the answers and the key")

    def statement(self, key: VerifyingKey, model: bytes, rules: Rules, answer: Answer) -> Statement:
        self.check_answer(model, rules, answer)
        return Statement(
            circuit_id=key.circuit_id,
            context=answer.context,
            inputs=tensors(rules.inputs, answer.inputs, rules.bits),
            outputs=tensors(rules.outputs, answer.outputs, rules.bits),
        )

    def check_answer(self, model: bytes, rules: Rules, answer: Answer) -> None:
        sizes = [int(np.prod(shape)) for _, shape in rules.inputs]
        if [len(values) for values in answer.inputs] != sizes:
            raise InvalidProof("the inputs have other shapes than the model's")
        if any(abs(value) >= 2**40 for values in answer.inputs for value in values):
            raise InvalidProof("an input is too large")
        if evaluate(model, rules, answer.inputs) != answer.outputs:
            raise InvalidProof("the model answers otherwise")

    def setup_trust(self, key: VerifyingKey) -> SetupTrust:
        self.read_key(key)
        return SetupTrust(trust=Trust.TRANSPARENT)
