"""Lies told to the real machine: what the interpreter of these tests refuses, cairo-vm refuses too; proofs bind."""

from __future__ import annotations

import numpy as np
import pytest
from balance_orion import NAME
from balance_orion.generator import generate
from balance_orion.key import PROGRAM_PART, ProgramKey
from balance_orion.machine import P
from balance_orion.verifier import OrionVerifier
from balance_orion.witness import checks, tape
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balance_core.errors import InvalidProof
from balance_core.integer import IntegerModel
from balance_core.integer.interface import STRUCTURE_PART, structure_bytes
from balance_core.integer.operations import Add, Clamp, MatMul, Rescale
from balance_core.records import Proof, VerifyingKey

from . import workshop
from .drawings import OPERATIONS

prover = pytest.importorskip("balance_orion_prover")
verifier = pytest.importorskip("balance_orion_verifier")
MODEST = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


def integers(words):
    values = [int.from_bytes(word, "little") for word in words]
    return [value if 2 * value < P else value - P for value in values]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_cairo_vm_runs_and_refuses_as_the_interpreter_does(operation):
    @MODEST
    @given(OPERATIONS[operation], st.integers(0, 2**32 - 1), st.data())
    def agrees(model, seed, data):
        program = generate(model)
        execution = workshop.execute(model, workshop.draw(model, seed))
        honest = tape(program, model, execution.tensors, bytes(32))
        ran = prover.run(program.to_bytes(), program.hints(), honest)
        assert integers(ran["output"])[2 + program.inputs :] == workshop.answers(model, execution)
        cells = checks(program, model, execution.tensors)
        if not len(cells):
            return
        at = data.draw(st.integers(0, len(cells) - 1))
        forged = cells.copy()
        forged[at] += data.draw(st.sampled_from([1, -1, 2**40]))
        lie = honest[: len(honest) - 8 * len(cells)] + forged.astype("<i8").tobytes()
        with pytest.raises(ValueError, match=r"\S"):
            prover.run(program.to_bytes(), program.hints(), lie)

    agrees()


def small():
    sketch = workshop.Sketch(8)
    product = sketch.op(MatMul(), sketch.input([1, 6], -50, 50), sketch.weight([6, 3], -90, 90))
    sketch.op(Clamp(-20, 20), sketch.op(Rescale(60), product))
    return sketch.model()


@pytest.mark.slow
def test_a_proof_holds_for_its_own_weights_and_strength_alone():
    model = small()
    program = generate(model)
    execution = workshop.execute(model, workshop.draw(model, 1))
    words = program.to_bytes()
    made = prover.prove(words, program.hints(), tape(program, model, execution.tensors, bytes(32)), queries=70)
    own = verifier.program_hash(words)
    said = integers(verifier.verify(own, made["proof"], queries=70))
    assert said[2 + program.inputs :] == workshop.answers(model, execution)
    place = model.weight_nodes[0]
    for change in (1, -1):
        weights = model.weights[place].copy()
        weights[0, 0] += change
        other = generate(IntegerModel(model.nodes, model.outputs, {place: np.clip(weights, -90, 90)}))
        with pytest.raises(ValueError, match=r"\S"):
            verifier.verify(verifier.program_hash(other.to_bytes()), made["proof"], queries=70)
    with pytest.raises(ValueError, match=r"\S"):
        verifier.verify(own, made["proof"], queries=140)


@pytest.mark.slow
def test_an_input_outside_its_interval_is_refused_though_the_run_is_sound():
    """The program relies on the intervals of its inputs; the verifier sees to them."""
    sketch = workshop.Sketch()
    x = sketch.input([1, 2], -5, 5)
    sketch.op(Add(), x, x)
    model = sketch.model()
    program = generate(model)
    words = program.to_bytes()
    output = [np.array([3, 6]), np.array([3, -5])]
    proofs = []
    for values in output:
        given = b"".join([bytes(64), values.astype("<i8").tobytes()])
        proofs.append(prover.prove(words, program.hints(), given, queries=70)["proof"])
    key = VerifyingKey(
        NAME,
        {
            PROGRAM_PART: ProgramKey(bytes(verifier.program_hash(words)), 70).to_bytes(),
            STRUCTURE_PART: structure_bytes(model),
        },
    )
    with pytest.raises(InvalidProof, match="interval"):
        OrionVerifier().verify(key, None, Proof(NAME, proofs[0]))
    (statement,) = OrionVerifier().verify(key, None, Proof(NAME, proofs[1]))
    assert statement.outputs[0].integers == (6, -10)
