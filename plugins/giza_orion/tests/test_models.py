"""Whole models: the run of the program answers as the integer executor does, and their proofs hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from balance_orion.cost import Cost, cost, cost_of_structure
from balance_orion.generator import generate
from balance_orion.machine import P
from balance_orion.witness import tape

from balance_core.integer import calibrate, execute, execute_integers
from balance_core.integer.executor import quantise
from balance_core.model.inputs import as_batch
from balance_core.model.load import load
from balance_core.provider import EXAMPLE

BESIDE = Path(__file__).parents[4] / "shared" / "models"
"""Larger models, where they lie beside the project."""
NAMES = ("mnist_mlp", "iris_tree", "cancer_logreg", "mnist_cnn", "lenet5", "mnist_transformer")
SAMPLES = 20


def lowered(name):
    """Return an integer model and the rest of its samples as integers."""
    path = EXAMPLE / "mnist_mlp.onnx" if name == "bundled" else BESIDE / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{name}.onnx is not at hand")
    samples = EXAMPLE / "digits.npz" if name == "bundled" else path.with_suffix(".npz")
    model = load(path)
    with np.load(samples) as arrays:
        batch = as_batch({model.inputs[0].name: arrays["x"]}, model.inputs)
    half = len(next(iter(batch.values()))) // 2
    integer = calibrate(model.proto(), {key: array[:half] for key, array in batch.items()}).model
    held = {
        op.label: quantise(batch[op.label][half : half + SAMPLES], integer.nodes[place], op)
        for place, op in integer.inputs
    }
    return integer, held


@pytest.fixture(scope="module")
def prover():
    return pytest.importorskip("balance_orion_prover")


@pytest.mark.parametrize("name", ["bundled", *NAMES])
def test_the_run_answers_as_the_executor_does(name, prover):
    model, held = lowered(name)
    program = generate(model)
    words, hints = program.to_bytes(), program.hints()
    count = min(SAMPLES, len(next(iter(held.values()))))
    for sample in range(count):
        execution = execute_integers(
            model, {key: array[sample : sample + 1] for key, array in held.items()}, intermediates=True
        )
        context = bytes(range(sample, sample + 32))
        ran = prover.run(words, hints, tape(program, model, execution.tensors, context))
        output = [int.from_bytes(word, "little") for word in ran["output"]]
        assert b"".join(half.to_bytes(16, "big") for half in output[:2]) == context
        asked = [v for _, op in model.inputs for v in held[op.label][sample].reshape(-1).tolist()]
        answered = [v for o in model.outputs for v in execution.outputs[o.name].reshape(-1).tolist()]
        assert [v if 2 * v < P else v - P for v in output[2:]] == [*asked, *answered]
        if sample == 0:
            assert ran["steps"] == program.steps + 10 or abs(ran["steps"] - program.steps) < 20


def test_costs_are_those_of_the_run(prover):
    """Rows that are counted before the run are near those of the run, never far below."""
    model, held = lowered("bundled")
    program = generate(model)
    execution = execute_integers(model, {k: v[:1] for k, v in held.items()}, intermediates=True)
    ran = prover.run(program.to_bytes(), program.hints(), tape(program, model, execution.tensors, bytes(32)))
    counted = cost(program).rows
    for kinds in (("add_opcode", "add_opcode_small"), ("mul_opcode", "mul_opcode_small")):
        assert sum(counted.get(k, 0) for k in kinds) == pytest.approx(
            sum(ran["rows"].get(k, 0) for k in kinds), rel=0.05, abs=50
        )
    assert counted["add_opcode"] >= 0.9 * ran["rows"]["add_opcode"]
    assert counted["mul_opcode"] >= 0.9 * ran["rows"]["mul_opcode"]


def test_a_structure_alone_tells_what_it_costs():
    model, _ = lowered("bundled")
    told = cost_of_structure(model.structure_only())
    assert isinstance(told, Cost)
    assert told.steps == pytest.approx(generate(model).steps, rel=0.3)


def test_a_model_beyond_one_trace_is_refused_with_the_numbers():
    from balance_core.integer.operations import MatMul

    from .workshop import Sketch

    sketch = Sketch()
    x = sketch.input([1, 6000], -127, 127)
    sketch.op(MatMul(), x, sketch.weight([6000, 6000], -127, 127))
    told = cost_of_structure(sketch.model().structure_only())
    assert isinstance(told, str)
    assert "36000000 multiply-adds" in told


def test_a_program_holds_the_weights():
    """One weight more makes another program, and so does another table or constant."""
    model, held = lowered("bundled")
    del held
    first = generate(model)
    assert first.words == generate(model).words
    place = model.weight_nodes[0]
    weights = dict(model.weights)
    changed = weights[place].copy()
    changed.reshape(-1)[0] += 1 if changed.reshape(-1)[0] < model.facts[place].hi else -1
    other = type(model)(model.nodes, model.outputs, {**weights, place: changed})
    assert generate(other).words != first.words
    assert execute(model, {op.label: np.zeros((1, *op.to)) for _, op in model.inputs}).outputs
