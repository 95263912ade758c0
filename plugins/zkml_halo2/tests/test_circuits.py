"""Circuits of any integer model: their witness is the executor's answer, and every constraint holds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from balance_core.integer.encoding import encode_structure, encode_weights, loads
from balance_core.integer.executor import execute_integers
from balance_core.testing.random_models import random_inputs, random_model

from .image_models import random_image_model
from .workshop import MODELS, PROVIDER, lists, native

pytestmark = [pytest.mark.plugin("zkml_halo2"), native]

WEIGHTS_AND_INPUTS = tuple(itertools.product(("public", "private"), repeat=2))


def satisfied(model, batch, sample, weights, inputs_are="public"):
    """Assert that the circuit takes a sample, and gives what the executor gives (the public column holds both)."""
    import balance_zkml_prover as prover

    inputs = lists(model.inputs, batch, sample)
    options = {"weights": weights, "inputs": inputs_are}
    failures = prover.altered(encode_structure(model), encode_weights(model), options, inputs, [])
    assert failures == []


@pytest.mark.parametrize("seed", range(60))
def test_random_models_satisfy_their_circuits(seed):
    model = random_model(seed)
    batch = random_inputs(model, seed, 3)
    for sample in range(3):
        satisfied(model, batch, sample, "private" if seed % 3 == 0 else "public")
    satisfied(model, batch, seed % 3, "private" if seed % 2 else "public", "private")


@pytest.mark.parametrize("seed", [1857, 3819, 3885])
def test_constants_that_meet_in_one_lane_are_added_up(seed):
    model = random_model(seed, nodes=6 + seed % 20)
    satisfied(model, random_inputs(model, seed, 3), seed % 3, "private")


# the last two want values of rows that runs of other lanes end at
@pytest.mark.parametrize("seed", [*range(20), 57, 193])
def test_layers_that_share_rows_satisfy_their_circuits(seed):
    model, batch = random_image_model(seed)
    for weights, inputs_are in WEIGHTS_AND_INPUTS:
        satisfied(model, batch, 0, weights, inputs_are)
    satisfied(model, batch, 1, "public")


@pytest.mark.soak
def test_a_thousand_models_of_images_satisfy_their_circuits():
    for seed in range(1_000):
        model, batch = random_image_model(seed)
        for sample, (weights, inputs_are) in enumerate(WEIGHTS_AND_INPUTS):
            satisfied(model, batch, sample % 2, weights, inputs_are)


@pytest.mark.soak
def test_thousands_of_random_models_satisfy_their_circuits():
    for seed in range(5_000):
        model = random_model(seed, nodes=6 + seed % 20)
        inputs_are = "private" if seed % 4 == 0 else "public"
        satisfied(
            model, random_inputs(model, seed, 3), seed % 3, "private" if seed % 3 == 0 else "public", inputs_are
        )


@pytest.mark.parametrize("private_inputs", [False, True])
@pytest.mark.parametrize("weights", ["private", "public"])
@pytest.mark.parametrize("seed", [3, 4, 11, 23])
def test_random_models_prove(seed, weights, private_inputs, tmp_path):
    import balance_zkml_prover as prover
    import balance_zkml_verifier as verifier

    model = random_model(seed)
    structure, values = encode_structure(model), encode_weights(model)
    options = {"weights": weights, "inputs": "private" if private_inputs else "public"}
    string = tmp_path / "string"
    prover.make_test(prover.plan(structure, options)["k"], string)
    key = prover.setup(structure, string, options if weights == "private" else options | {"values": values})["key"]
    commitment = opening = None
    if weights == "private":
        made = prover.commit(structure, values, key, string, PROVIDER)
        commitment, opening = (made["commitment"], PROVIDER), made["opening"]
    batch = random_inputs(model, seed, 3)
    answers = execute_integers(model, batch).outputs
    ready = prover.Prover(structure, values, key, string, opening)
    for sample in range(2):
        inputs = lists(model.inputs, batch, sample)
        blind = bytes([sample + 7] * 32) if private_inputs else None
        proof = ready.prove(bytes([sample] * 32), inputs, blind)
        context, _, stated, outputs, hidden = verifier.verify(key, commitment, proof)
        assert context == bytes([sample] * 32)
        if private_inputs:
            assert stated == []
            assert hidden == verifier.hide(key, context, inputs, blind)
        else:
            assert (stated, hidden) == (inputs, None)
        assert outputs == [answers[output.name][sample].reshape(-1).tolist() for output in model.outputs]


@pytest.mark.parametrize("name", ["iris_tree", "cancer_logreg", "mnist_mlp", "mnist_cnn", "lenet5"])
def test_trained_models_satisfy_their_circuits(name):
    from balance_core.integer.calibration import calibrate
    from balance_core.integer.settings import IntegerSettings
    from balance_core.model.integers import quantised

    if not (MODELS / f"{name}.onnx").is_file():
        pytest.skip("the trained models are not beside this clone")
    import onnx

    proto = onnx.load(MODELS / f"{name}.onnx")
    samples = np.load(MODELS / f"{name}.npz")["x"]
    port = proto.graph.input[0]
    shape = [dim.dim_value or 1 for dim in port.type.tensor_type.shape.dim]
    batch = {port.name: samples.reshape([len(samples), *shape])}
    model = calibrate(proto, batch, IntegerSettings()).model
    given = quantised(model, {port.name: batch[port.name][:2]})
    for sample in range(2):
        satisfied(model, given, sample, "private")


def test_a_plan_fits_its_own_description():
    import balance_zkml_prover as prover

    plan = prover.plan(encode_structure(random_model(1)), {"weights": "public"})
    assert plan["rows"] <= 2 ** plan["k"]
    assert plan["columns"] == plan["advice"] + plan["fixed"]


def test_what_has_no_circuit_is_refused_with_its_node():
    import balance_zkml_prover as prover

    with pytest.raises(ValueError, match="integer model"):
        prover.plan(b"\x01", {"weights": "public"})
    with pytest.raises(ValueError, match="private or public"):
        prover.plan(encode_structure(loads_small()), {"weights": "hidden"})


def loads_small():
    """Return a small model that went through its own encoding."""
    from balance_core.integer.encoding import dumps

    return loads(dumps(random_model(2)))
