"""Sums that are wide beside a table: what the rows come to is the executor's answer, and no cell of them is free."""

from __future__ import annotations

import random

import pytest

from balance_core.integer.encoding import encode_structure, encode_weights
from balance_core.integer.executor import execute_integers

from .wide_models import wide_model
from .workshop import native

pytestmark = [pytest.mark.plugin("zkml_halo2"), native]


def is_sound_and_complete(seed, *, cells):
    import balance_zkml_prover as prover

    chance = random.Random(seed)
    model, inputs = wide_model(seed)
    secrets = {"weights": chance.choice(["public", "private"]), "inputs": chance.choice(["public"] * 4 + ["private"])}
    arguments = (encode_structure(model), encode_weights(model), secrets)
    expected = execute_integers(model, {"x": inputs}).outputs
    for i, given in enumerate(inputs):
        asked = [given.reshape(-1).tolist()]
        answers = [expected[output.name][i].reshape(-1).tolist() for output in model.outputs]
        assert prover.answers(*arguments, asked) == answers, f"seed {seed}, input {i}"
        assert prover.altered(*arguments, asked, []) == [], f"seed {seed}, input {i}"
    read = prover.read_cells(arguments[0], secrets)
    asked = [inputs[0].reshape(-1).tolist()]
    for cell in chance.sample(read, min(cells, len(read))):
        by = chance.choice([1, -1, 3, 2**40])
        assert prover.altered(*arguments, asked, [(*cell, by)]), f"seed {seed}: {cell} is free by {by}"


@pytest.mark.parametrize("seed", range(20))
def test_wide_models_are_the_executors_and_no_cell_is_free(seed):
    is_sound_and_complete(seed, cells=8)


@pytest.mark.soak
def test_wide_models_in_numbers_are_the_executors_and_no_cell_is_free():
    for seed in range(100, 600):
        is_sound_and_complete(seed, cells=12)
