"""Each operation's code alone and in chains: it answers as the executor does, and accepts no other answer."""

from __future__ import annotations

import numpy as np
import pytest
from balance_orion.generator import generate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balance_core.integer.operations import MatMul, Rescale

from . import workshop
from .drawings import OPERATIONS
from .interpreter import Refused, run

MODEST = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_program_answers_as_the_executor_does(operation):
    @MODEST
    @given(OPERATIONS[operation], st.integers(0, 2**32 - 1))
    def answers(model, seed):
        workshop.check(model, seeds=(seed,))

    answers()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_range_checked_cell_can_hold_another_number(operation):
    """Each is determined by the inputs: one more, one less, far away and past the field's half are refused."""

    @settings(MODEST, max_examples=12)
    @given(OPERATIONS[operation], st.integers(0, 2**32 - 1), st.data())
    def refused(model, seed, data):
        program = generate(model)
        execution = workshop.execute(model, workshop.draw(model, seed))
        count = len(program.check_sources)
        if not count:
            return
        for at in {data.draw(st.integers(0, count - 1)) for _ in range(6)}:
            for change in (1, -1, 2**64, -(2**127)):

                def lie(cells, at=at, change=change):
                    return [*cells[:at], cells[at] + change, *cells[at + 1 :]]

                with pytest.raises(Refused):
                    workshop.proven(program, model, execution.tensors, lie=lie)

    refused()


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - {"input", "constant", "wire"}))
def test_no_other_result_has_a_witness(operation):
    """A prover who claims another result, and fills everything else to match, is refused or changes nothing."""

    @settings(MODEST, max_examples=12)
    @given(OPERATIONS[operation], st.integers(0, 2**32 - 1), st.sampled_from([1, -1, 7, 1000]))
    def refused(model, seed, change):
        program = generate(model)
        execution = workshop.execute(model, workshop.draw(model, seed))
        for place in {output.tensor for output in model.outputs}:
            tensors = dict(execution.tensors)
            forged = tensors[place].copy()
            forged.reshape(-1)[-1] += change
            tensors[place] = forged
            try:
                proven = workshop.proven(program, model, tensors)
            except Refused:
                continue
            if place not in {i for i, _ in model.inputs}:
                assert proven == workshop.answers(model, execution)

    refused()


def test_remainders_are_bounded_on_both_sides():
    """A quotient one lower with a remainder one divisor higher satisfies the equation, and is refused."""
    sketch = workshop.Sketch()
    sketch.op(Rescale(1000), sketch.input([1, 3], -(2**40), 2**40))
    model = sketch.model()
    program = generate(model)
    execution = workshop.execute(model, workshop.draw(model, 4))
    names = [program.sources[source].name for source in program.check_sources]
    for sign in (1, -1):

        def lie(cells, sign=sign):
            moves = {"above": -sign, "rounded": 1000 * sign, "rounded:complement": -1000 * sign}
            first = {name: names.index(name) for name in moves}
            return [cell + moves[names[at]] if first[names[at]] == at else cell for at, cell in enumerate(cells)]

        with pytest.raises(Refused, match="range-checked"):
            workshop.proven(program, model, execution.tensors, lie=lie)


def test_lanes_cannot_borrow_from_each_other():
    """One more in a lane and a whole lane less in the one below keep the packed sum, and are refused."""
    sketch = workshop.Sketch(5)
    sketch.op(MatMul(), sketch.input([1, 4], 0, 127), sketch.weight([4, 3], -127, 127))
    model = sketch.model()
    program = generate(model)
    execution = workshop.execute(model, workshop.draw(model, 6))
    names = [program.sources[source].name for source in program.check_sources]
    lanes = [at for at, name in enumerate(names) if name == "above"]
    for width in range(1, 90):

        def lie(cells, width=width):
            forged = list(cells)
            for at, move in ((lanes[0], 2**width), (lanes[1], -1)):
                forged[at] += move
                forged[at + 1] -= move
            return forged

        with pytest.raises(Refused):
            workshop.proven(program, model, execution.tensors, lie=lie)


def test_nothing_but_inputs_and_checks_is_left_to_the_prover():
    """Hints fill the output's first cells and the range-check segment; the interpreter refuses other open cells."""
    sketch = workshop.Sketch()
    sketch.input([1, 2], 0, 9)
    program = generate(sketch.model())
    assert {kind for _, kind, _, _ in program.hints()} <= {2, 4}
    assert len(program.hints()) == 3
    with pytest.raises(Refused, match="never determined"):
        run(program.words, [1, 2, 3], [])
    assert np.array_equal(run(program.words, [1, 2, 3, 4], []), [1, 2, 3, 4, 3, 4])
