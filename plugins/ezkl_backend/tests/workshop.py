"""One tiny circuit, set up and proven once, that most tests share."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

import numpy as np
import pytest
from balance_ezkl.backend import EzklBackend
from balance_ezkl.settings import EzklSettings
from balance_ezkl.verifier import EzklVerifier
from onnx import TensorProto, helper, numpy_helper

from balance_core.contracts import Request, Samples
from balance_core.model import reference
from balance_core.model.load import load
from balance_core.records import Circuit, Opening, Proof, VerifyingKey
from balance_core.work import LocalJob
from balance_core.workspace import Workspace

CONTEXT = bytes(range(200, 232))


class Bench:
    """A workspace, and stages run in this process."""

    def __init__(self, folder):
        self.workspace = Workspace(folder)
        self.told = []

    @contextlib.contextmanager
    def job(self, **options):
        with self.workspace.scratch() as scratch:

            def report(message, fraction):
                self.told.append((message, fraction))

            yield LocalJob(
                self.workspace, scratch, **{"threads": 2, "memory_bytes": None, "report": report, **options}
            )

    def setup(self, model, samples, settings=None, **options):
        with self.job(**options) as job:
            return EzklBackend(settings or EzklSettings()).setup(model, samples, job)

    def execute(self, circuit, inputs):
        with self.job() as job:
            return EzklBackend().execute(circuit, Opening(), inputs, job)

    def prove(self, circuit, inputs, context=CONTEXT):
        with self.job() as job:
            return EzklBackend().prove(circuit, Opening(), [Request(inputs, context)], job)

    def key(self, circuit):
        parts = {name: self.workspace.blob(cid).read_bytes() for name, cid in circuit.key.items()}
        return VerifyingKey(circuit.backend, parts)


@dataclass(frozen=True)
class Proven:
    """What it takes to verify, and what it was made of."""

    model: object
    samples: Samples
    circuit: Circuit
    key: VerifyingKey
    proof: Proof

    def with_part(self, name, data):
        return VerifyingKey(self.key.backend, {**self.key.parts, name: data})

    def verify(self, *, proof=None, key=None):
        (statement,) = EzklVerifier().verify(key or self.key, None, proof or self.proof)
        return statement


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture(scope="session")
def tiny_bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_model():
    return mlp(seed=1)


@pytest.fixture(scope="session")
def tiny(tiny_bench, tiny_model):
    """A 4-8-3 perceptron, its circuit, and a proof of its first sample."""
    samples = sampled(tiny_model)
    circuit = tiny_bench.setup(tiny_model, samples)
    proof = tiny_bench.prove(circuit, sample(samples, 0))
    return Proven(tiny_model, samples, circuit, tiny_bench.key(circuit), proof)


def mlp(*, seed, sizes=(4, 8, 3)):
    random = np.random.default_rng(seed)
    nodes, constants, value = [], {}, "x"
    for layer in range(1, len(sizes)):
        constants[f"w{layer}"] = random.normal(0, 0.6, (sizes[layer - 1], sizes[layer]))
        constants[f"b{layer}"] = random.normal(0, 0.2, sizes[layer])
        last = layer == len(sizes) - 1
        target = "y" if last else f"sum{layer}"
        nodes.append(helper.make_node("Gemm", [value, f"w{layer}", f"b{layer}"], [target], name=f"gemm{layer}"))
        if not last:
            value = f"hidden{layer}"
            nodes.append(helper.make_node("Relu", [target], [value], name=f"relu{layer}"))
    return load(graph(nodes, {"x": (1, sizes[0])}, {"y": (1, sizes[-1])}, constants))


def graph(nodes, inputs, outputs, constants=None, *, opset=17):
    """Return a model of float tensors; a shape may be given with an element type as (type, shape)."""

    def value(name, described):
        kind, shape = described if isinstance(described[-1], (tuple, list)) else (TensorProto.FLOAT, described)
        return helper.make_tensor_value_info(name, kind, shape)

    initializers = [
        numpy_helper.from_array(array.astype(np.float32) if array.dtype == np.float64 else array, name)
        for name, array in ((name, np.asarray(array)) for name, array in (constants or {}).items())
    ]
    made = helper.make_graph(
        nodes,
        "g",
        [value(name, described) for name, described in inputs.items()],
        [value(name, described) for name, described in outputs.items()],
        initializers,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def sampled(model, *, count=24, seed=5, low=-1.0, high=1.0):
    random = np.random.default_rng(seed)
    inputs = {spec.name: random.uniform(low, high, (count, *spec.shape)).astype(spec.dtype) for spec in model.inputs}
    return Samples(inputs, reference.run(model.onnx, inputs))


def sample(samples, index):
    return {name: array[index] for name, array in samples.inputs.items()}


def with_settings(settings, **changes):
    return replace(settings, **changes)
