"""The operations, against a plain second executor and at the edges of what they admit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import run

from balance_core.errors import ConfigError, ToolFailed
from balance_core.integer import IntegerModel, Node, Output, execute_integers
from balance_core.integer import operations as ops
from balance_core.integer.facts import SAFE, Fact, Inadmissible
from balance_core.integer.model import checked_fact
from balance_core.testing.random_models import random_inputs, random_model

SAMPLES = 5


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_every_tensor_equals_a_plain_execution_and_lies_in_its_interval(seed):
    model = random_model(seed)
    batch = random_inputs(model, seed, SAMPLES)
    execution = execute_integers(model, batch, intermediates=True)
    for sample in range(SAMPLES):
        expected = run(model, {name: array[sample] for name, array in batch.items()})
        for place, values in enumerate(expected):
            tensor = execution.tensors[place]
            found = tensor[min(sample, len(tensor) - 1)].reshape(-1).tolist()
            assert found == values, model.name_of(place)
            fact = model.facts[place]
            assert fact.lo <= min(values), model.name_of(place)
            assert max(values) <= fact.hi, model.name_of(place)


def test_every_operation_occurs_in_the_random_graphs():
    seen = {node.operation.name for seed in range(60) for node in random_model(seed).nodes}
    assert seen == {operation.name for operation in ops.OPERATIONS}


def test_a_batch_in_parts_equals_the_batch_at_once(monkeypatch):
    model = random_model(7)
    batch = random_inputs(model, 7, 9)
    whole = execute_integers(model, batch).outputs
    monkeypatch.setattr("balance_core.integer.executor.CHUNK_ELEMENTS", 1)
    parts = execute_integers(model, batch).outputs
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 8, 2**40])
def test_rescale_rounds_half_up_also_below_zero(divisor):
    values = np.arange(-40, 41)[None] * max(1, divisor // 4)
    result = ops.Rescale(divisor).run([values], ())
    for x, y in zip(values[0].tolist(), result[0].tolist(), strict=True):
        assert divisor * y - divisor / 2 <= x < divisor * y + divisor / 2


def test_argmax_takes_the_first_of_equals():
    assert ops.ArgMax((0,)).run([np.array([[3, 5, 5, 1]])], ()).tolist() == [[1]]


@pytest.mark.parametrize(
    ("operation", "facts", "words"),
    [
        (ops.Mul(), [Fact((1,), 0, 2**31), Fact((1,), 0, 2**31)], "beyond the safe width"),
        (ops.Add(), [Fact((1,), 0, SAFE), Fact((1,), 0, 1)], "beyond the safe width"),
        (ops.Sum((0,)), [Fact((8,), 0, 2**60)], "beyond the safe width"),
        (ops.Rescale(2), [Fact((1,), 0, SAFE)], "beyond the safe width"),
        (ops.Rescale(0), [Fact((1,), 0, 1)], "not positive"),
        (ops.Divide(), [Fact((1,), 0, 1), Fact((1,), 0, 9)], "not positive"),
        (ops.Lookup(0, np.arange(4)), [Fact((1,), 0, 4)], "looked up"),
        (ops.Lookup(0, np.arange(4)), [Fact((1,), -1, 3)], "looked up"),
        (ops.Clamp(2, 1), [Fact((1,), 0, 4)], "empty interval"),
        (ops.Wire((2,), (2,), (1,), 0, None), [Fact((1,), 0, 4)], "reads elements"),
        (ops.Wire((2,), (2,), (-1,), 0, None), [Fact((9,), 0, 4)], "reads elements"),
        (ops.Wire((3,), (2,), (1,), 0, None), [Fact((9,), 0, 4)], "does not fill"),
        (ops.MatMul(), [Fact((2, 3), 0, 1), Fact((2, 3), 0, 1)], "do not multiply"),
        (ops.Add(), [Fact((2, 3), 0, 1), Fact((2, 2), 0, 1)], "do not broadcast"),
        (ops.Add(), [Fact((3,), 0, 1), Fact((1, 3), 0, 1)], "different rank"),
        (ops.Sum((1, 0)), [Fact((2, 2), 0, 1)], "not rising"),
        (ops.ArgMax((0, 1)), [Fact((2, 2), 0, 1)], "one axis"),
        (ops.Conv2d((1, 1), (0, 0, 0, 0), (1, 1), 1), [Fact((1, 1, 2, 2), 0, 1), Fact((1, 1, 3, 3), 0, 1)], "larger"),
        (
            ops.Conv2d((0, 1), (0, 0, 0, 0), (1, 1), 1),
            [Fact((1, 1, 2, 2), 0, 1), Fact((1, 1, 1, 1), 0, 1)],
            "positive",
        ),
        (ops.Add(), [Fact((1,), 0, 1)], "takes 2 operands"),
        (ops.Input("x", (0,), 0, 1), [], "empty axis"),
    ],
)
def test_what_is_not_admissible_is_refused(operation, facts, words):
    with pytest.raises(Inadmissible, match=words):
        checked_fact(operation, tuple(facts))


def test_a_wrong_interval_rule_is_found_when_the_model_runs(monkeypatch):
    monkeypatch.setattr(ops.Add, "interval", lambda *_: (0, 3))
    nodes = (Node(ops.Input("x", (2,), 0, 3)), Node(ops.Add(), (0, 0)))
    model = IntegerModel(nodes, (Output("y", 1),))
    assert execute_integers(model, {"x": np.array([[1, 1]])}).outputs["y"].tolist() == [[2, 2]]
    with pytest.raises(ToolFailed, match="leave the interval"):
        execute_integers(model, {"x": np.array([[1, 3]])})


def test_large_products_stay_exact_beyond_float64():
    nodes = (
        Node(ops.Input("x", (1, 2), 0, 2**30)),
        Node(ops.Input("w", (2, 1), 0, 2**29)),
        Node(ops.MatMul(), (0, 1)),
    )
    model = IntegerModel(nodes, (Output("y", 2),))
    batch = {"x": np.array([[[2**30 - 1, 2**30 - 3]]]), "w": np.array([[[2**29 - 1], [2**29 - 7]]])}
    expected = (2**30 - 1) * (2**29 - 1) + (2**30 - 3) * (2**29 - 7)
    assert execute_integers(model, batch).outputs["y"].item() == expected


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(-6, 6)), min_size=1, max_size=4), st.integers(0, 9))
def test_a_wire_made_of_an_index_gives_that_index_back(loops, offset):
    index = np.array(offset)
    for count, stride in loops:
        index = index[..., None] + np.arange(count) * stride
    index = index - index.min()
    assert np.array_equal(ops.Wire.from_index(index).index(), index)


def test_a_model_refuses_nodes_that_read_later_ones():
    with pytest.raises(ConfigError, match="not made before"):
        IntegerModel((Node(ops.Input("x", (1,), 0, 1)), Node(ops.Add(), (0, 1))), (Output("y", 1),))
