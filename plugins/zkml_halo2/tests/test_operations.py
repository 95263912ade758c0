"""Real proofs of every operation alone, of random models and of trained ones: bit for bit the executor's answers."""

from __future__ import annotations

import itertools
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balance_core.integer import IntegerModel, Node, Output
from balance_core.integer import operations as ops
from balance_core.integer.encoding import encode_structure, encode_weights
from balance_core.integer.executor import execute_integers
from balance_core.testing.random_models import random_inputs, random_model

from .workshop import MODELS, PROVIDER, lists, native

pytestmark = [pytest.mark.plugin("zkml_halo2"), native]

KINDS = tuple(itertools.product(("private", "public"), repeat=2))
"""Whether weights and inputs are private."""


@cache
def string(k):
    """Return a reference string, kept for all tests of this process."""
    import balance_zkml_prover as prover

    path = Path(tempfile.mkdtemp()) / "string"
    prover.make_test(k, path)
    return path


def proves(model, batch, samples, weights="public", inputs="public"):
    """Assert that proofs of these samples verify, and state what the executor answers."""
    import balance_zkml_prover as prover
    import balance_zkml_verifier as verifier

    structure, values = encode_structure(model), encode_weights(model)
    options = {"weights": weights, "inputs": inputs}
    srs = string(prover.plan(structure, options)["k"])
    key = prover.setup(structure, srs, options if weights == "private" else options | {"values": values})["key"]
    made = prover.commit(structure, values, key, srs, PROVIDER) if weights == "private" else {}
    given = (made["commitment"], PROVIDER) if made else None
    answers = execute_integers(model, batch).outputs
    for sample in samples:
        context, asked = sample.to_bytes(32, "big"), lists(model.inputs, batch, sample)
        blind = bytes([9]) * 32 if inputs == "private" else None
        proof = prover.Prover(structure, values, key, srs, made.get("opening")).prove(context, asked, blind)
        said, _, stated, outputs, hidden = verifier.verify(key, given, proof)
        assert said == context
        assert outputs == [answers[output.name][sample].reshape(-1).tolist() for output in model.outputs]
        if inputs == "private":
            assert hidden == verifier.hide(key, context, asked, blind)
        else:
            assert stated == asked


X = ops.Input("x", (1, 3, 4), -9, 9)
IMAGE = ops.Input("x", (1, 2, 4, 4), -9, 9)
WIDE = ops.Input("x", (1, 3), -(2**20), 2**20)
ALONE = {
    "input": (X,),
    "wire": (X, (ops.Wire.from_index(np.arange(12).reshape(4, 3)[::-1]), 0)),
    "add": (X, (ops.Add(), 0, 0)),
    "add a weight": (X, ops.Constant((1, 3, 4), -9, 9, None), (ops.Add(), 0, 1)),
    "sub": (X, ops.Constant.listed(np.arange(12).reshape(1, 3, 4)), (ops.Sub(), 0, 1)),
    "mul": (X, (ops.Mul(), 0, 0)),
    "mul by a weight": (X, ops.Constant((1, 3, 4), -300, 300, None), (ops.Mul(), 0, 1)),
    "sum": (X, (ops.Sum((2,)), 0)),
    "matmul": (X, ops.Constant((1, 4, 5), -9, 9, None), (ops.MatMul(), 0, 1)),
    "matmul of two": (X, (ops.Wire.from_index(np.arange(12).reshape(1, 4, 3)), 0), (ops.MatMul(), 0, 1)),
    "conv2d": (IMAGE, ops.Constant((3, 2, 2, 2), -9, 9, None), (ops.Conv2d((1, 1), (1, 0, 1, 0), (1, 1), 1), 0, 1)),
    "conv2d strided": (
        IMAGE, ops.Constant((2, 1, 2, 2), -9, 9, None), (ops.Conv2d((2, 2), (0, 0, 0, 0), (2, 1), 2), 0, 1)
    ),
    "rescale": (WIDE, (ops.Rescale(256), 0)),
    "rescale by no power of two": (WIDE, (ops.Rescale(1000), 0)),
    "clamp": (WIDE, (ops.Clamp(-100, 100), 0)),
    "lookup": (X, (ops.Lookup(-9, np.arange(19) ** 3), 0)),
    "divide": (X, (ops.Clamp(1, 9), 0), (ops.Divide(), 0, 1)),
    "less": (X, (ops.Wire.from_index(np.arange(12)[::-1].reshape(1, 3, 4)), 0), (ops.Less(), 0, 1)),
    "max": (X, (ops.Max((2,)), 0)),
    "argmax": (X, (ops.ArgMax((2,)), 0)),
}  # fmt: skip


def alone(parts):
    nodes = tuple(Node(part[0], part[1:]) if isinstance(part, tuple) else Node(part) for part in parts)
    random = np.random.Generator(np.random.PCG64(len(nodes)))
    weights = {
        place: random.integers(node.operation.lo, node.operation.hi + 1, size=node.operation.to)
        for place, node in enumerate(nodes)
        if isinstance(node.operation, ops.Constant) and node.operation.values is None
    }
    return IntegerModel(nodes, (Output("y", len(nodes) - 1),), weights)


@pytest.mark.parametrize("name", ALONE)
def test_every_operation_alone_is_proven(name):
    model = alone(ALONE[name])
    weights, inputs = KINDS[list(ALONE).index(name) % 4]
    proves(model, random_inputs(model, 1, 3), [2], weights, inputs)


@pytest.mark.soak
@pytest.mark.parametrize(("weights", "inputs"), KINDS)
@pytest.mark.parametrize("name", ALONE)
def test_every_operation_alone_is_proven_whatever_is_private(name, weights, inputs):
    model = alone(ALONE[name])
    proves(model, random_inputs(model, 1, 3), [0, 1, 2], weights, inputs)


def _random_model_is_proven(seed, nodes):
    model = random_model(seed, nodes=nodes)
    weights, inputs = KINDS[seed % 4]
    proves(model, random_inputs(model, seed, 3), [seed % 3], weights, inputs)


RANDOM = given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(2, 14))


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@RANDOM
def test_random_models_are_proven(seed, nodes):
    _random_model_is_proven(seed, nodes)


@pytest.mark.soak
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@RANDOM
def test_three_hundred_random_models_are_proven(seed, nodes):
    _random_model_is_proven(seed, nodes)


def trained(name):
    """Return one of the trained models as integers, and samples of it."""
    import onnx

    from balance_core.integer.calibration import calibrate
    from balance_core.integer.settings import IntegerSettings
    from balance_core.model.integers import quantised

    if not (MODELS / f"{name}.onnx").is_file():
        pytest.skip("the trained models are not beside this clone")
    proto = onnx.load(MODELS / f"{name}.onnx")
    samples = np.load(MODELS / f"{name}.npz")["x"]
    port = proto.graph.input[0]
    shape = [dim.dim_value or 1 for dim in port.type.tensor_type.shape.dim]
    batch = {port.name: samples.reshape([len(samples), *shape])}
    model = calibrate(proto, batch, IntegerSettings()).model
    return model, quantised(model, {port.name: batch[port.name][:20]})


@pytest.mark.soak
@pytest.mark.parametrize(
    "name", ["iris_tree", "cancer_logreg", "mnist_mlp", "mnist_cnn", "lenet5", "mnist_transformer"]
)
def test_twenty_samples_of_each_trained_model_are_proven_bit_for_bit(name):
    model, batch = trained(name)
    count = len(next(iter(batch.values())))
    proves(model, batch, range(count), "private", "public")
    proves(model, batch, [0], "public", "private")
