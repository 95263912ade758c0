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


def digits_in_two_rows(*, layer):
    """Return a model of quotients with more values than are worth a table, of a layer's results or of inputs.

    A layer reads their columns as runs, which pass over the rows in between.
    """
    if layer:
        nodes = [
            Node(ops.Input("x", (40, 2), -(2**15), 2**15)),
            Node(ops.Constant((2, 4), -127, 127, None)),
            Node(ops.MatMul(), (0, 1)),
            Node(ops.Rescale(6), (2,)),
        ]
        weights = {1: np.array([[3, -127, 0, 1], [-5, 127, 2, -1]])}
    else:
        nodes = [Node(ops.Input("x", (40, 2), -(2**20), 2**20)), Node(ops.Rescale(6), (0,))]
        weights = {}
    last, width = len(nodes) - 1, 4 if layer else 2
    nodes += [Node(ops.Constant((width, 3), -3, 3, None)), Node(ops.MatMul(), (last, last + 1))]
    weights[last + 1] = np.arange(width * 3).reshape(width, 3) % 7 - 3
    return IntegerModel(tuple(nodes), (Output("y", last + 2),), weights)


def inputs_of(size, largest):
    return [[(-1) ** i * (largest - 977 * i % largest) for i in range(2 * size)]]


@pytest.mark.parametrize("weights", ["public", "private"])
@pytest.mark.parametrize("layer", [False, True])
def test_quotients_in_two_digits_are_the_executors(layer, weights):
    model = digits_in_two_rows(layer=layer)
    largest = 2**15 if layer else 2**20
    for given in (inputs_of(40, largest), [[largest] * 80], [[-largest] * 80], [[0] * 80], [list(range(-40, 40))]):
        answers_as_the_model(model, {"x": np.array(given).reshape(1, 40, 2)}, 0, weights)


@pytest.mark.parametrize("layer", [False, True])
def test_a_quotient_has_one_pair_of_digits(layer):
    """No part of a digit moves to the other one or to the remainder, and what is read is what both make together."""
    import balance_zkml_prover as prover

    model = digits_in_two_rows(layer=layer)
    options = {"weights": "public"}
    given = inputs_of(40, 2**15 if layer else 2**20)
    structure, values = encode_structure(model), encode_weights(model)
    read = set(prover.read_cells(structure, options))
    # high digit, remainder, and in the next row low digit and value
    upper = [row for column, lane, row in sorted(read) if (column, lane) == ("q", 0) and ("r", 0, row) in read]
    lower = {("r", 0), ("a", 0)}
    pairs = [row for row in upper if {(c, i) for c, i, r in read if r == row + 1 and i == 0} == lower]
    assert pairs
    pairs = [pairs[0], pairs[len(pairs) // 2], pairs[-1]]
    size = 2 ** min(prover.plan(structure, options)["k"] - 1, 12)
    for row in pairs:
        for moved in (-1, 1):
            high, rest, low, value = ("q", 0, row), ("r", 0, row), ("r", 0, row + 1), ("a", 0, row + 1)
            tries = [
                [(*high, moved), (*low, -moved * size)],
                [(*high, moved), (*low, -moved * size), ("a", 0, row, moved)],
                [(*high, moved), ("a", 0, row, moved), (*value, moved * size)],
                [(*low, moved), (*rest, -6 * moved)],
                [(*low, moved), (*rest, -6 * moved), (*value, moved)],
                [(*high, moved), (*rest, -6 * moved * size)],
                [("a", 0, row, moved), (*value, moved * size)],
                [(*low, moved), (*value, moved)],
                [(*value, moved)],
            ]
            for edits in tries:
                assert prover.altered(structure, values, options, given, edits), edits
