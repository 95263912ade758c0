"""Small real circuits of ezkl, proven once for all tests: what the chain is told of them, and what ezkl says."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import numpy as np
import pytest
from balance_evm import layout
from balance_ezkl.backend import EzklBackend
from balance_ezkl.key import read_key
from balance_ezkl.settings import EzklSettings
from balance_ezkl.tool import ezkl
from balance_ezkl.verifier import EzklVerifier
from onnx import TensorProto, helper, numpy_helper

from balance_core.contracts import EvmCircuit, EvmContract, EvmProof, Request, Samples
from balance_core.model import reference
from balance_core.model.load import load
from balance_core.records import Opening, Statement, VerifyingKey
from balance_core.work import LocalJob
from balance_core.workspace import Workspace

CONTEXTS = (bytes(range(32)), bytes(range(100, 132)))


@dataclass(frozen=True)
class Proven:
    """A circuit and two proofs under it, with the statements that the off-chain verifier reads from them."""

    key: VerifyingKey
    contract: EvmContract
    circuit: EvmCircuit
    proofs: tuple[EvmProof, ...]
    statements: tuple[Statement, ...]

    @property
    def reading(self):
        """How its public values are read."""
        groups = [
            [(one.form, one.low, one.high) for one in group] for group in (self.circuit.inputs, self.circuit.outputs)
        ]
        return layout.layout(self.key.circuit_id, None, *groups)

    @property
    def material(self) -> bytes:
        """What it is told of for ezkl's reusable contract."""
        return layout.reusable(self.reading, self.circuit.words, self.circuit.proof_bytes)


def model(seed):
    """Return a layer of four to three, with a comparison, so that its outputs are numbers and truth values."""
    random = np.random.default_rng(seed)
    constants = {"w": random.normal(0, 0.6, (4, 3)), "b": random.normal(0, 0.2, 3)}
    made = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["s"]), helper.make_node("Relu", ["s"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3))],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return load(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def prove(folder, seed) -> Proven:
    """Set a circuit up and prove two answers."""
    workspace, backend, source = Workspace(folder), EzklBackend(EzklSettings()), model(seed)
    inputs = np.random.default_rng(5).uniform(-1, 1, (24, 1, 4)).astype(np.float32)

    @contextlib.contextmanager
    def job():
        with workspace.scratch() as scratch:
            yield LocalJob(workspace, scratch, threads=2, memory_bytes=None, report=lambda *_: None)

    with job() as stage:
        samples = Samples({"x": inputs}, reference.run(source.onnx, {"x": inputs}))
        circuit = backend.setup(source, samples, stage)
    key = VerifyingKey("ezkl", {name: workspace.blob(cid).read_bytes() for name, cid in circuit.key.items()})
    proofs, statements = [], []
    for number, context in enumerate(CONTEXTS):
        with job() as stage:
            proof = backend.prove(circuit, Opening(), [Request({"x": inputs[number]}, context)], stage)
        proofs.append(backend.evm_proof(key, proof))
        statements += EzklVerifier().verify(key, None, proof)
    return Proven(key, backend.evm_contract(key), backend.evm_circuit(key), tuple(proofs), tuple(statements))


def dedicated_source(key: VerifyingKey, folder) -> str:
    """Let ezkl generate the contract for one circuit."""
    judged = read_key(key.parts)
    for name, data in {"vk": judged.key, "settings": judged.ezkl_settings, "srs": judged.parameters.cut}.items():
        (folder / name).write_bytes(data)

    async def export():
        # It raises for want of a compiler, with the source on the disk.
        with contextlib.suppress(RuntimeError):
            names = [str(folder / name) for name in ("vk", "settings", "V.sol", "V.abi", "srs")]
            await ezkl().create_evm_verifier(*names, False)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            patch.setenv(name, "http://127.0.0.1:9")
        patch.setenv("HOME", str(folder))
        asyncio.run(export())
    return (folder / "V.sol").read_text()
