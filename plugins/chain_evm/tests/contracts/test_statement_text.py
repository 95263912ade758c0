"""The contracts write statements as the core does, for all numbers that a public value can be."""

from __future__ import annotations

from itertools import chain

import pytest
from balance_evm import layout
from balance_evm.artifacts import artifact
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from balance_core.bn254 import R
from balance_core.records import Statement, Tensor

from .machine import Machine, Reverted

MACHINE = Machine()
YES = MACHINE.create(bytes.fromhex("600a600c600039600a6000f3" + "600160005260206000f3"))
"""A contract that answers 1 to everything: what is tried here is what stands before ezkl's own."""
YES_HASH = keccak(bytes.fromhex("600160005260206000f3"))
ADAPTER = MACHINE.deploy(artifact("EzklDedicated"))
LIMIT = 2**127 - 1
EDGES = st.sampled_from([s * n for n in (0, 1, 9, 10, 2**53 - 1, 2**53, 2**53 + 1, 10**37, LIMIT) for s in (1, -1)])
NUMBERS = st.lists(EDGES | st.integers(-300, 300) | st.integers(-LIMIT, LIMIT), max_size=9)
TENSORS = st.builds(
    lambda name, integers, power: Tensor(
        name=name, shape=(len(integers),), integers=tuple(integers), denominator=2**power
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    NUMBERS,
    st.integers(0, 60),
)
STATEMENTS = st.builds(
    Statement,
    circuit_id=st.binary(min_size=32, max_size=32).map(bytes.hex),
    commitment_id=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    context=st.binary(min_size=32, max_size=32).map(bytes.hex),
    inputs=st.lists(TENSORS, min_size=1, max_size=3).map(tuple),
    outputs=st.lists(TENSORS, min_size=1, max_size=3).map(tuple),
)


def told(statement, *, low=-LIMIT, high=LIMIT, values=None):
    """Let the adapter read a statement's numbers."""
    groups = [
        [(one.model_copy(update={"integers": (0,) * len(one.integers)}), low, high) for one in group]
        for group in (statement.inputs, statement.outputs)
    ]
    reading = layout.layout(statement.circuit_id, statement.commitment_id, *groups)
    material = layout.dedicated(reading, YES, YES_HASH, 0)
    context = bytes.fromhex(statement.context)
    limbs = [int.from_bytes(context[i : i + 2], "big") for i in range(0, 32, 2)]
    if values is None:
        tensors = statement.inputs + statement.outputs
        values = [number % R for number in chain.from_iterable(tensor.integers for tensor in tensors)]
    return ADAPTER.get("verify", keccak(material), material, b"", limbs + values)


@settings(max_examples=150, deadline=None)
@given(STATEMENTS)
def test_digests_are_the_cores(statement):
    said = told(statement)
    assert said["context"].hex() == statement.context
    assert said["inputsDigest"].hex() == statement.inputs_digest
    assert said["statementDigest"].hex() == statement.digest


def one(number):
    tensor = Tensor(name="x", shape=(1,), integers=(number,))
    return Statement(circuit_id="00" * 32, context="00" * 32, inputs=(tensor,), outputs=(tensor,))


@pytest.mark.parametrize(
    ("number", "low", "high", "fits"),
    [
        (5, -5, 5, True),
        (-5, -5, 5, True),
        (6, -5, 5, False),
        (-6, -5, 5, False),
        (0, 0, 1, True),
        (1, 0, 1, True),
        (-1, 0, 1, False),
        (2, 0, 1, False),
        (R // 2, -LIMIT, LIMIT, False),
        (-(R // 2), -LIMIT, LIMIT, False),
    ],
)
def test_numbers_keep_to_their_range(number, low, high, fits):
    if fits:
        assert told(one(number), low=low, high=high)["statementDigest"].hex() == one(number).digest
    else:
        with pytest.raises(Reverted, match="out of range"):
            told(one(number), low=low, high=high)


@pytest.mark.parametrize("value", [R, R + 5, 2**256 - 1])
def test_numbers_are_reduced(value):
    with pytest.raises(Reverted, match="not reduced"):
        told(one(5), values=[value, 5])


def test_a_picture_is_read_for_less_gas_than_its_proof_takes():
    """Ezkl's contract takes 2.1 million for 800 public values; reading them as a statement adds less than a third."""
    picture = Tensor(name="image", shape=(784,), integers=tuple(n % 256 for n in range(784)), denominator=256)
    scores = Tensor(name="scores", shape=(10,), integers=tuple(range(-50000, 50000, 10000)))
    statement = Statement(circuit_id="00" * 32, context="11" * 32, inputs=(picture,), outputs=(scores,))
    assert told(statement)["statementDigest"].hex() == statement.digest
    assert MACHINE.gas_used < 700_000


def test_a_form_with_numbers_in_it_is_no_form():
    tensor = Tensor(name="x", shape=(2,), integers=(0, 1))
    with pytest.raises(ValueError, match="no other integers than 0"):
        layout.layout("00" * 32, None, [(tensor, 0, 1)], [])
