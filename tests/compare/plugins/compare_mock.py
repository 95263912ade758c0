"""An honest mock: the proof is the statement under a digest, and the verifier asks the model again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from balance_core.contracts import ProofBackend, Verifier
from balance_core.errors import BalanceError, ConfigError, InvalidProof
from balance_core.model import Model, reference
from balance_core.records import Circuit, Proof, SetupTrust, Statement, Tensor, Trust
from balance_core.stages import Capabilities, Estimate, Support

UNIT = 2**12


def tensors(specs, arrays):
    grids = ((spec, np.rint(arrays[spec.name].ravel() * float(UNIT))) for spec in specs)
    return tuple(Tensor(name=s.name, shape=s.shape, integers=tuple(map(int, g)), denominator=UNIT) for s, g in grids)


def outputs(model, inputs):
    asked = {tensor.name: tensor.real()[None].astype("float32") for tensor in inputs}
    return tensors(model.outputs, reference.run(model.onnx, asked))


def sealed(name, statement):
    return Proof(name, bytes.fromhex(statement.digest) + statement.to_json())


class MockBackend(ProofBackend):
    api_version = 1
    version = "1"
    name = "mock"
    capabilities = Capabilities(
        sound=True, security_bits=1, binds_context=True, deterministic=True, transparent_setup=True
    )

    def check(self, _model):
        return Support(estimate=Estimate(rows=1, prove_seconds=0.1))

    def setup(self, model, _samples, job):
        (job.scratch / "model").write_bytes(model.to_bytes())
        return Circuit(
            backend=self.name,
            backend_version=self.version,
            model_id=model.model_id,
            settings={},
            inputs=model.inputs,
            outputs=model.outputs,
            setup_trust=SetupTrust(trust=Trust.TRANSPARENT),
            key={"model": job.publish(job.scratch / "model")},
            facts={"rows": 1},
        )

    def model(self, circuit, job):
        return Model.from_bytes(job.path(circuit.key["model"]).read_bytes())

    def answer(self, model, sample):
        return outputs(model, tensors(model.inputs, sample))

    def execute(self, circuit, _opening, inputs, job):
        model = self.model(circuit, job)
        samples = [dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True)]
        return [self.answer(model, sample) for sample in samples]

    def statement(self, model, circuit, request):
        asked = tensors(model.inputs, request.inputs)
        return Statement(
            circuit_id=circuit.circuit_id,
            context=request.context.hex(),
            inputs=asked,
            outputs=self.answer(model, request.inputs),
        )

    def prove(self, circuit, _opening, requests, job):
        return sealed(self.name, self.statement(self.model(circuit, job), circuit, requests[0]))


class MockVerifier(Verifier):
    api_version = 1
    sound = True

    def verify(self, key, commitment, proof):
        said = self.said(proof)
        if commitment is not None or proof != sealed(proof.backend, said) or said.circuit_id != key.circuit_id:
            raise InvalidProof("not a proof of this circuit")
        self.look_closer(key, said)
        return (said,)

    def look_closer(self, key, said):
        if said.outputs != outputs(self.model(key), said.inputs):
            raise InvalidProof("the model answers otherwise")

    def said(self, proof):
        try:
            return Statement.from_json(proof.data[32:], max_size=2**20)
        except ConfigError as error:
            raise InvalidProof(error.message) from error

    def setup_trust(self, _key):
        return SetupTrust(trust=Trust.TRANSPARENT)

    def model(self, key):
        try:
            return Model.from_bytes(key.parts["model"])
        except (BalanceError, KeyError) as error:
            raise InvalidProof("the verifying key is broken") from error


class First(MockBackend):
    name = "first"


class Second(MockBackend):
    name = "second"


class Last(MockBackend):
    name = "last"


class Stringy(MockBackend):
    """Takes a while to make a reference string, where the store has none."""

    name = "stringy"

    def setup(self, model, samples, job):
        string = Path(os.environ["BALANCE_HOME"]) / "srs" / "mock.srs"
        if not string.exists():
            time.sleep(2)
            string.touch()
        return super().setup(model, samples, job)
