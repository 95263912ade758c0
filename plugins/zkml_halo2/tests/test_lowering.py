"""What a circuit answers is what the model answers, where layers grow together and are read more than once."""

from __future__ import annotations

import numpy as np
import pytest

from balance_core.integer import IntegerModel, Node, Output
from balance_core.integer import operations as ops
from balance_core.integer.encoding import encode_structure, encode_weights
from balance_core.integer.executor import execute_integers
from balance_core.testing.random_models import random_inputs, random_model

from .workshop import lists, native

pytestmark = [pytest.mark.plugin("zkml_halo2"), native]


def answers_as_the_model(model, batch, sample, weights):
    import balance_zkml_prover as prover

    arguments = (encode_structure(model), encode_weights(model), {"weights": weights})
    inputs = lists(model.inputs, batch, sample)
    expected = execute_integers(model, batch).outputs
    assert prover.answers(*arguments, inputs) == [
        expected[o.name][sample].reshape(-1).tolist() for o in model.outputs
    ]
    assert prover.altered(*arguments, inputs, []) == []


def layer(*more, divisor=None):
    """Return a matrix product of two results, rounded if there is a divisor, and the nodes that follow it."""
    nodes = [
        Node(ops.Input("x", (1, 2), -40, 40)),
        Node(ops.Constant((2, 2), -7, 7, None)),
        Node(ops.MatMul(), (0, 1)),
        Node(ops.Constant((1, 2), -300, 300, None)),
    ]
    if divisor is not None:
        nodes.append(Node(ops.Rescale(divisor), (2,)))
    return (*nodes, *more)


WEIGHTS = {1: np.array([[3, -2], [1, 5]]), 3: np.array([[211, -300]])}
BATCH = {"x": np.array([[[1, 2]], [[-40, 40]], [[40, 39]], [[0, 0]], [[-3, 7]]])}
SAME = ops.Wire.from_index(np.arange(2).reshape(1, 2))


@pytest.mark.parametrize("weights", ["public", "private"])
@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        # the layer's results go out as they are, and behind a wire with a bias
        (layer(Node(SAME, (2,)), Node(ops.Add(), (4, 3))), (5, 2)),
        (layer(Node(SAME, (2,)), Node(SAME, (2,)), Node(ops.Add(), (4, 3))), (6, 5)),
        (layer(Node(ops.Add(), (2, 3)), Node(ops.Rescale(4), (2,))), (4, 5)),
        # the same behind a rescaling
        (layer(Node(ops.Add(), (4, 3)), divisor=6), (5, 2)),
        (layer(Node(SAME, (4,)), Node(ops.Add(), (5, 3)), divisor=6), (6, 4)),
    ],
)
def test_a_bias_changes_nothing_for_other_readers_of_a_layer(nodes, outputs, weights):
    model = IntegerModel(nodes, tuple(Output(f"y{place}", place) for place in outputs), WEIGHTS)
    for sample in range(5):
        answers_as_the_model(model, BATCH, sample, weights)


@pytest.mark.parametrize("weights", ["public", "private"])
@pytest.mark.parametrize("clamp", [(-50, 60), (-2000, 2000), None])
@pytest.mark.parametrize("divisor", [2, 5, 6, 512])
def test_a_bias_behind_a_rescaling_is_as_if_before_it(divisor, clamp, weights):
    more = [Node(ops.Add(), (4, 3))]
    if clamp is not None:
        more.append(Node(ops.Clamp(*clamp), (5,)))
    nodes = layer(*more, divisor=divisor)
    model = IntegerModel(nodes, (Output("y", len(nodes) - 1),), WEIGHTS)
    for sample in range(5):
        answers_as_the_model(model, BATCH, sample, weights)


@pytest.mark.parametrize("seed", range(80))
def test_random_models_answer_as_they_should(seed):
    model = random_model(seed, nodes=6 + seed % 20)
    answers_as_the_model(model, random_inputs(model, seed, 3), seed % 3, "private" if seed % 3 == 0 else "public")


@pytest.mark.parametrize("x", [-1000, -(2**12), 900, 2**12, 7])
def test_a_value_has_one_place_in_a_window(x):
    """Neither a limb that is moved by a window nor a side of another one stands for the same value."""
    import balance_zkml_prover as prover

    # so many that a window costs less than limbs, and a table that tells little, so that no output would change
    nodes = (
        Node(ops.Input("x", (40,), -(2**12), 2**12)),
        Node(ops.Clamp(0, 15), (0,)),
        Node(ops.Lookup(0, np.array([0] * 15 + [1])), (1,)),
    )
    model = IntegerModel(nodes, (Output("y", 2),), {})
    arguments = (encode_structure(model), encode_weights(model), {"weights": "public"}, [[x] * 40])
    assert prover.altered(*arguments, []) == []
    read = set(prover.read_cells(arguments[0], arguments[2]))
    windows = [row for column, lane, row in sorted(read) if column == "q" and ("r", lane, row + 1) in read][:3]
    assert windows
    for row in windows:
        for moved in (-2, -1, 1, 2):
            for below in ([("q", 1)], [("q", 1), ("r", 1)], [("r", 1)]):
                edits = [("q", 0, row, moved), *((column, 0, row + 1, -16 * moved * by) for column, by in below)]
                assert prover.altered(*arguments, edits), edits
