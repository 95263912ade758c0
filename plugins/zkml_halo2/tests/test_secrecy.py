"""Secrecy, tried as an observer would: what proofs open, interpolated over many of them.

Each proof opens every polynomial at a fresh point. A polynomial that is the same in all proofs has fewer coefficients
than the circuit has rows, so that many openings give it away: that is so for the fixed columns of public weights, and
must not be so for private weights and inputs, whose columns are blinded anew in each proof.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from balance_core.bn254 import R
from balance_core.integer import IntegerModel, Node, Output
from balance_core.integer import operations as ops
from balance_core.integer.encoding import encode_structure, encode_weights

from .workshop import PROVIDER, native

pytestmark = [pytest.mark.plugin("zkml_halo2"), native]

K = 5
ROWS = 2**K
PROOFS = 3 * ROWS
OMEGA = pow(7, (R - 1) // ROWS, R)
"""A generator of the rows' subgroup: 7 generates the field's multiplicative group."""
WEIGHTS = np.array([[3, -1], [-2, 1]], dtype=np.int64)
INPUT = [2, -3]


def model():
    nodes = (
        Node(ops.Input("x", (1, 2), -3, 3)),
        Node(ops.Constant((2, 2), -3, 3, None)),
        Node(ops.MatMul(), (0, 1)),
    )
    return IntegerModel(nodes, (Output("y", 2),), {1: WEIGHTS})


def observed(folder, weights, inputs):
    """Return what many proofs of one model and one input open: points, and by place the values at each point."""
    import balance_zkml_prover as prover

    structure, values = encode_structure(model()), encode_weights(model())
    options = {"weights": weights, "inputs": inputs, "k": K}
    string = folder / "string"
    prover.make_test(K, string)
    key = prover.setup(structure, string, options if weights == "private" else options | {"values": values})["key"]
    made = prover.commit(structure, values, key, string, PROVIDER) if weights == "private" else {}
    given = (made["commitment"], PROVIDER) if made else None
    ready = prover.Prover(structure, values, key, string, made.get("opening"))
    points, places = [], []
    for number in range(PROOFS):
        context = number.to_bytes(32, "big")
        blind = bytes([7]) * 32 if inputs == "private" else None
        proof = ready.prove(context, [INPUT], blind)
        point, opened = prover.opened(key, given, proof)
        points.append(int.from_bytes(point, "little"))
        places.append([int.from_bytes(value, "little") for value in opened])
    assert len(set(points)) == PROOFS
    return points, list(zip(*places, strict=True))


def factors(points):
    """Return, for each point and each row, how much a value there adds to the row's cell (Lagrange's formula)."""
    made = []
    for x in points:
        others = [other for other in points if other != x]
        lower = pow(math.prod(x - other for other in others) % R, -1, R)
        rows = (pow(OMEGA, row, R) for row in range(ROWS))
        made.append([math.prod((at - other) % R for other in others) * lower % R for at in rows])
    return made


def interpolated(points, places):
    """Return, for each place, what the rows hold by each run of as many proofs as rows, if that is one polynomial."""
    runs = [slice(start, start + ROWS) for start in range(0, PROOFS, ROWS)]
    weighed = [factors(points[run]) for run in runs]
    return [
        [
            tuple(sum(f[row] * v for f, v in zip(made, values[run], strict=True)) % R for row in range(ROWS))
            for run, made in zip(runs, weighed, strict=True)
        ]
        for values in places
    ]


def small(column):
    """Return the small numbers in a column, negative ones too: nothing else is a weight, a digit or an input."""
    return {value if value < 2**16 else value - R for value in column if min(value, R - value) < 2**16}


def sorted_out(points, places):
    """Return what can be learned: the numbers in polynomials that all runs agree on, and those in all others."""
    learned, others = set(), set()
    for first, *rest in interpolated(points, places):
        same = all(column == first for column in rest)
        for column in (first, *rest):
            (learned if same else others).update(small(column))
    return learned, others


def test_public_weights_are_given_away_by_as_many_proofs_as_rows(tmp_path):
    learned, _ = sorted_out(*observed(tmp_path, "public", "public"))
    assert set(WEIGHTS.ravel().tolist()) <= learned


@pytest.mark.parametrize(
    ("weights", "inputs"), [("private", "public"), ("private", "private"), ("public", "private")]
)
def test_private_columns_are_never_given_away(tmp_path, weights, inputs):
    learned, others = sorted_out(*observed(tmp_path, weights, inputs))
    # What is the same in all proofs is the circuit's: selectors, tables, constants, and weights only where they are.
    digits = {int(weight) + 128 for weight in WEIGHTS.ravel()}
    assert learned
    assert not digits & learned
    # Everything else changes from proof to proof: interpolation gives no weight, no digit, no input, no small number.
    assert not others


@pytest.mark.parametrize("inputs", ["public", "private"])
def test_proofs_of_one_statement_have_no_commitment_in_common(tmp_path, inputs):
    import balance_zkml_prover as prover

    structure, values, string = encode_structure(model()), encode_weights(model()), tmp_path / "string"
    prover.make_test(K, string)
    key = prover.setup(structure, string, {"weights": "private", "inputs": inputs, "k": K})["key"]
    made = prover.commit(structure, values, key, string, PROVIDER)
    ready = prover.Prover(structure, values, key, string, made["opening"])
    blind = bytes([7]) * 32 if inputs == "private" else None
    one, other = (ready.prove(bytes(32), [INPUT], blind) for _ in range(2))
    stated = next(at for at in range(len(one)) if one[at] != other[at])
    # Points, and the link's numbers: each hides something, and is blinded anew in each proof.
    parts = []
    for proof in (one, other):
        _, opened = prover.opened(key, (made["commitment"], PROVIDER), proof)
        parts.append({proof[at : at + 32] for at in range(stated, len(proof), 32)} - set(opened))
    assert len(parts[0]) > 20
    assert not parts[0] & parts[1]
