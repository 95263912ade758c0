"""A mock backend: the proof is the statement and its digest, and the verifier asks the model again."""

from __future__ import annotations

import numpy as np

from balance_core.contracts import ProofBackend, Verifier
from balance_core.errors import BalanceError, ConfigError, InvalidProof, UnsupportedModel
from balance_core.model import Model, reference
from balance_core.records import Circuit, Proof, SetupTrust, Statement, Tensor, Trust
from balance_core.stages import Capabilities, NodeProblem, Support

OPERATORS = {"Add", "Conv", "Flatten", "Gemm", "MatMul", "Relu", "Reshape"}
UNIT = 2**12
LIMIT = 2**40


def tensors(specs, arrays):
    grids = ((spec, np.rint(arrays[spec.name].ravel() * float(UNIT))) for spec in specs)
    return tuple(Tensor(name=s.name, shape=s.shape, integers=tuple(map(int, g)), denominator=UNIT) for s, g in grids)


def answer(model, circuit_id, context, inputs):
    asked = {tensor.name: tensor.real()[None].astype("float32") for tensor in inputs}
    outputs = tensors(model.outputs, reference.run(model.onnx, asked))
    return Statement(circuit_id=circuit_id, context=context, inputs=inputs, outputs=outputs)


def sealed(statement):
    return Proof("echo", bytes.fromhex(statement.digest) + statement.to_json())


class EchoBackend(ProofBackend):
    """Repeats the answer, and proves nothing."""

    api_version = 1
    version = "1"
    capabilities = Capabilities(binds_context=True, deterministic=True, transparent_setup=True)

    def check(self, model):
        bad = [node for node in model.proto().graph.node if node.domain or node.op_type not in OPERATORS]
        problems = (
            NodeProblem(node=node.name, operator=node.op_type, reason="echo does not know it") for node in bad
        )
        return Support(problems=tuple(problems))

    def setup(self, model, _samples, job):
        problems = self.check(model).problems
        if problems:
            raise UnsupportedModel("echo", issues=[(found.node, found.operator, found.reason) for found in problems])
        (job.scratch / "model").write_bytes(model.to_bytes())
        return Circuit(
            backend="echo",
            backend_version=self.version,
            model_id=model.model_id,
            settings={},
            inputs=model.inputs,
            outputs=model.outputs,
            setup_trust=SetupTrust(trust=Trust.TRANSPARENT),
            key={"model": job.publish(job.scratch / "model")},
        )

    def execute(self, circuit, _opening, inputs, job):
        model = Model.from_bytes(job.path(circuit.key["model"]).read_bytes())
        samples = [dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True)]
        return [answer(model, "0" * 64, "0" * 64, tensors(model.inputs, sample)).outputs for sample in samples]

    def prove(self, circuit, _opening, requests, job):
        if len(requests) != 1:
            raise ConfigError(f"echo proves one request at a time, not {len(requests)}")
        model = Model.from_bytes(job.path(circuit.key["model"]).read_bytes())
        inputs = tensors(model.inputs, requests[0].inputs)
        return sealed(answer(model, circuit.circuit_id, requests[0].context.hex(), inputs))


class EchoVerifier(Verifier):
    """Asks the model again."""

    api_version = 1

    def verify(self, key, commitment, proof):
        model = self.model(key)
        try:
            said = Statement.from_json(proof.data[32:], max_size=2**20)
        except ConfigError as error:
            raise InvalidProof(error.message) from error
        if commitment is not None or proof != sealed(said) or said.circuit_id != key.circuit_id:
            raise InvalidProof("not a proof of this circuit")
        shapes = [(said_input.name, said_input.shape) for said_input in said.inputs]
        if shapes != [(spec.name, spec.shape) for spec in model.inputs] or not all(map(small, said.inputs)):
            raise InvalidProof("the inputs are not of the model's form")
        if said != answer(model, key.circuit_id, said.context, said.inputs):
            raise InvalidProof("the model answers otherwise")
        return (said,)

    def setup_trust(self, key):
        self.model(key)
        return SetupTrust(trust=Trust.TRANSPARENT)

    def model(self, key):
        try:
            return Model.from_bytes(key.parts["model"])
        except (BalanceError, KeyError) as error:
            raise InvalidProof("the verifying key is broken") from error


def small(tensor):
    return isinstance(tensor, Tensor) and all(abs(value) < LIMIT for value in (*tensor.integers, tensor.zero_point))
