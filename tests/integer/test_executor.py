"""Quantising inputs, errors of the caller, and what people see of a model."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balance_core.errors import ConfigError
from balance_core.integer import IntegerModel, Node, Output, execute, execute_integers, inspect
from balance_core.integer import operations as ops
from balance_core.integer.executor import quantise
from balance_core.testing.random_models import random_model


@given(
    st.lists(st.floats(allow_nan=False, width=32), min_size=1, max_size=20),
    st.fractions(min_value=Fraction(1, 10**6), max_value=10**6),
    st.integers(-300, 300),
)
def test_quantising_is_exact_for_every_scale(values, scale, zero):
    op = ops.Input("x", (len(values),), -128, 127)
    found = quantise(np.array([values]), Node(op, (), scale, zero), op)[0].tolist()
    for value, integer in zip(values, found, strict=True):
        if np.isinf(value):
            assert integer == (127 if value > 0 else -128)
        else:
            exact = Fraction(value) / scale + zero + Fraction(1, 2)
            assert integer == min(max(exact.__floor__(), -128), 127)


def doubled():
    nodes = (Node(ops.Input("x", (2,), -8, 7), (), Fraction(1, 2)), Node(ops.Add(), (0, 0), Fraction(1, 2)))
    return IntegerModel(nodes, (Output("y", 1),))


def test_integers_and_reals_are_both_returned():
    execution = execute(doubled(), {"x": np.array([[1.25, -9]])})
    assert execution.outputs["y"].tolist() == [[6, -16]]
    assert execution.reals["y"].tolist() == [[3.0, -8.0]]
    assert execution.tensors == {}
    assert execute(doubled(), {"x": np.zeros((3, 2))}, intermediates=True).tensors[0].shape == (3, 2)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ({}, "missing"),
        ({"x": np.zeros((1, 3))}, "shape"),
        ({"x": np.zeros((0, 2))}, "shape"),
        ({"x": np.array([["a", "b"]])}, "type"),
        ({"x": np.array([[np.nan, 0]])}, "not numbers"),
        ({"x": np.zeros((1, 2)), "z": np.zeros(1)}, "no input z"),
    ],
)
def test_a_wrong_batch_is_refused(batch, words):
    with pytest.raises(ConfigError, match=words):
        execute(doubled(), batch)


def test_integers_outside_their_interval_are_refused():
    with pytest.raises(ConfigError, match="leaves its interval"):
        execute_integers(doubled(), {"x": np.array([[8, 0]])})
    with pytest.raises(ConfigError, match="not integers"):
        execute_integers(doubled(), {"x": np.array([[1.0, 0]])})


@pytest.mark.parametrize("seed", range(20))
def test_a_summary_is_json_and_counts_what_is_there(seed):
    model = random_model(seed)
    data = json.loads(json.dumps(inspect.summary(model)))
    assert len(data["nodes"]) == len(model.nodes) == sum(data["operations"].values())
    assert data["weights"] == sum(array.size for array in model.weights.values())
    text = inspect.table(model)
    assert len(text.splitlines()) == len(model.nodes) + 4
    assert model.structure_digest in text


@pytest.mark.parametrize("seed", range(20))
def test_a_diagram_is_well_formed_and_shows_every_node_that_computes(seed):
    model = random_model(seed)
    labelled = [Node(n.operation, n.inputs, n.scale, n.zero_point, '<&"\x00>') for n in model.nodes]
    root = ET.fromstring(inspect.svg(IntegerModel(tuple(labelled), model.outputs, model.weights)))  # noqa: S314
    boxes = root.findall("{http://www.w3.org/2000/svg}g")
    assert len(boxes) == sum(not isinstance(node.operation, ops.Constant) for node in model.nodes)


def test_multiply_adds_are_counted():
    nodes = (
        Node(ops.Input("x", (1, 3, 8, 8), 0, 1)),
        Node(ops.Constant((4, 3, 3, 3), -1, 1, None)),
        Node(ops.Conv2d((1, 1), (0, 0, 0, 0), (1, 1), 1), (0, 1)),
    )
    assert inspect.summary(IntegerModel(nodes, (Output("y", 2),)))["macs"] == 4 * 36 * 27


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64, np.bool_])
@pytest.mark.parametrize("zero_point", [0, 5, -7, 2**61, -(2**70), 2**70])
def test_integers_are_quantised_exactly_whatever_their_type(dtype, zero_point):
    op = ops.Input("x", (3,), -100, 2**62 - 1)
    node = Node(op, scale=Fraction(1), zero_point=zero_point)
    ends = (0, 1, 1) if dtype is np.bool_ else (np.iinfo(dtype).min, 3, np.iinfo(dtype).max)
    found = quantise(np.array([ends], dtype=dtype), node, op)
    assert found.dtype == np.int64
    assert found.tolist() == [[min(max(int(v) + zero_point, op.lo), op.hi) for v in ends]]


@pytest.mark.parametrize(("groups", "pads", "strides", "dilations"), [
    (1, (0, 0, 0, 0), (1, 1), (1, 1)),
    (2, (1, 0, 2, 1), (2, 1), (1, 2)),
    (4, (2, 2, 2, 2), (1, 3), (2, 1)),
])  # fmt: skip
def test_a_sample_alone_is_answered_as_in_a_batch(groups, pads, strides, dilations):
    """Few elements are gathered one by one, many by views: both are the same function."""
    random = np.random.default_rng(groups)
    image = ops.Input("x", (1, 4, 9, 8), -50, 50)
    kernel = random.integers(-7, 8, (8, 4 // groups, 3, 2))
    nodes = [
        Node(image),
        Node(ops.Constant.listed(kernel)),
        Node(ops.Conv2d(strides, pads, dilations, groups), (0, 1)),
    ]
    shape = IntegerModel(tuple(nodes), (Output("y", 2),)).facts[2].shape
    index = np.arange(int(np.prod(shape))).reshape(shape).transpose(0, 3, 1, 2)
    nodes += [Node(ops.Wire.from_index(index), (2,)), Node(ops.Wire.from_index(index.reshape(-1)[::-1]), (3,))]
    model = IntegerModel(tuple(nodes), (Output("y", 2), Output("z", 4)))
    batch = random.integers(-50, 51, (300, 1, 4, 9, 8))
    together = execute_integers(model, {"x": batch}).outputs
    for at in (0, 299):
        alone = execute_integers(model, {"x": batch[at : at + 1]}).outputs
        for name, array in alone.items():
            np.testing.assert_array_equal(array[0], together[name][at])
    padded = np.pad(batch[0, 0], ((0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    y = together["y"][0, 0]
    o, i, j = y.shape[0] - 1, y.shape[1] - 1, y.shape[2] - 1
    rows, columns = (i * strides[0] + np.arange(3) * dilations[0]), (j * strides[1] + np.arange(2) * dilations[1])
    depth = 4 // groups
    part = padded[(groups - 1) * depth :][:, rows][:, :, columns]
    assert y[o, i, j] == (part * kernel[o]).sum()
