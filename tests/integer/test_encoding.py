"""The canonical encoding, and its reader."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balance_core.errors import BalanceError, ConfigError
from balance_core.integer import IntegerModel, dumps, execute_integers, loads
from balance_core.integer.codec import Reader, Writer
from balance_core.testing.random_models import random_inputs, random_model


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_model_survives_its_encoding(seed):
    model = random_model(seed)
    data = dumps(model)
    again = loads(data)
    assert dumps(again) == data
    assert again.digest == model.digest
    assert again.facts == model.facts
    batch = random_inputs(model, seed, 3)
    first, second = execute_integers(model, batch).outputs, execute_integers(again, batch).outputs
    assert all(np.array_equal(first[name], second[name]) for name in first)


def with_weights():
    return next(model for model in map(random_model, range(100)) if len(model.weights) > 1)


def test_the_structure_does_not_depend_on_the_weights():
    model = with_weights()
    other = IntegerModel(model.nodes, model.outputs, {i: -array for i, array in model.weights.items()})
    assert other.structure_digest == model.structure_digest
    assert other.weights_digest != model.weights_digest
    assert other.digest != model.digest


def test_labels_are_kept_and_are_in_no_digest():
    model = with_weights()
    renamed = IntegerModel(tuple(replace(n, label="secret") for n in model.nodes), model.outputs, model.weights)
    assert renamed.digest == model.digest
    assert {node.label for node in loads(dumps(renamed)).nodes} == {"secret"}


def test_a_structure_alone_can_be_read_and_not_run():
    model = with_weights()
    structure = loads(dumps(model, weights=False))
    assert structure.structure_digest == model.structure_digest
    assert structure.facts == model.facts
    with pytest.raises(ConfigError, match="no weights"):
        execute_integers(structure, random_inputs(model, 0, 1))
    with pytest.raises(ConfigError, match="no weights"):
        _ = structure.digest


def test_weights_outside_their_declared_range_are_refused():
    model = with_weights()
    place = model.weight_nodes[0]
    array = model.weights[place].copy()
    array.reshape(-1)[0] = model.facts[place].hi + 1
    with pytest.raises(ConfigError, match="declared range"):
        IntegerModel(model.nodes, model.outputs, {**model.weights, place: array})


def mutated(data: bytes, generator: np.random.Generator) -> bytes:
    """Return the bytes changed, cut, extended, repeated or spliced somewhere."""
    result = bytearray(data)
    for _ in range(int(generator.integers(1, 4))):
        at = int(generator.integers(len(result)))
        match int(generator.integers(6)):
            case 0:
                result[at] ^= 1 << int(generator.integers(8))
            case 1:
                result[at] = int(generator.choice([0, 1, 0x7F, 0x80, 0xFF]))
            case 2:
                del result[at : at + int(generator.integers(1, 9))]
            case 3:
                result[at:at] = bytes(generator.integers(0, 256, size=int(generator.integers(1, 9)), dtype=np.uint8))
            case 4:
                result[at:at] = b"\xff" * 9
            case _:
                other = int(generator.integers(len(result)))
                result[at : at + 16] = result[other : other + 16]
        if not result:
            return b""
    return bytes(result)


def survive(count: int, start: int) -> tuple[int, int]:
    """Read mutated models; return how many were refused and the peak of memory, in bytes."""
    refused = 0
    originals = [dumps(random_model(seed)) for seed in range(20)]
    tracemalloc.start()
    try:
        for seed in range(start, start + count):
            generator = np.random.Generator(np.random.PCG64(seed))
            data = mutated(originals[seed % len(originals)], generator)
            try:
                model = loads(data)
                assert dumps(model) in {data, dumps(model, weights=False)}
                _ = model.structure_digest
            except BalanceError:
                refused += 1
        return refused, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_mutated_models_are_read_or_refused_and_nothing_else():
    refused, peak = survive(600, 0)
    assert refused > 400
    assert peak < 2**30


@pytest.mark.soak
def test_ten_thousand_mutated_models_are_read_or_refused():
    refused, peak = survive(10_000, 10_000)
    assert refused > 5_000
    assert peak < 2**30


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"BALANCE-INT\x02",
        b"BALANCE-INT\x01",
        b"BALANCE-INT\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"BALANCE-INT\x01" + b"\x80" * 100,
        b"BALANCE-INT\x01\x01\x00\x00\x00",
        b"x" * 1000,
    ],
)
def test_other_bytes_are_refused(data):
    with pytest.raises(ConfigError):
        loads(data)


def test_trailing_bytes_are_refused():
    with pytest.raises(ConfigError, match="follow the end"):
        loads(dumps(random_model(1)) + b"\0")


@given(st.integers(-(2**200), 2**200))
def test_integers_have_one_encoding(value):
    out = Writer()
    out.sint(value)
    source = Reader(out.getvalue(), "test")
    assert source.sint() == value
    source.end()


def test_an_integer_in_more_bytes_than_needed_is_refused():
    with pytest.raises(ConfigError, match="shortest"):
        Reader(b"\x81\x00", "test").uint()
