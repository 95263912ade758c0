"""The forgeries that the zkml project's circuits accept, each tried on a witness of ours: none is accepted.

A forger alters whatever he likes in the first phase and in the public values, and counts look-ups anew; the second
phase then follows from the challenges. Which cells an operation uses is told by the layout, so that small circuits
are tried cell by cell.
"""

from __future__ import annotations

import itertools
import multiprocessing

import numpy as np
import pytest

from balance_core.errors import ConfigError
from balance_core.integer import IntegerModel, Node, Output
from balance_core.integer import operations as ops
from balance_core.integer.encoding import encode_structure, encode_weights
from balance_core.integer.executor import execute_integers

from .workshop import PROVIDER, native

pytestmark = [pytest.mark.plugin("zkml_halo2"), native]

PUBLIC = {"weights": "public"}
PRIVATE = {"weights": "private"}


def model(*nodes, outputs=None, **weights):
    given = {int(name[1:]): np.asarray(values, dtype=np.int64) for name, values in weights.items()}
    nodes = tuple(Node(operation, tuple(inputs)) for operation, *inputs in nodes)
    return IntegerModel(nodes, tuple(Output(f"y{i}", i) for i in outputs or [len(nodes) - 1]), given)


def flat(array):
    return np.asarray(array, dtype=np.int64).reshape(-1).tolist()


def failures(made, inputs, edits, options=None):
    import balance_zkml_prover as prover

    given = [flat(each) for each in inputs]
    return prover.altered(encode_structure(made), encode_weights(made), options or PUBLIC, given, edits)


def outputs_at(made, options=None):
    """Return row, lane, and whether it is looked up, of each output."""
    import balance_zkml_prover as prover

    return prover.output_cells(encode_structure(made), options or PUBLIC)


def read_cells(made, options=None):
    import balance_zkml_prover as prover

    return prover.read_cells(encode_structure(made), options or PUBLIC)


def claimed(cells, changes):
    """Return edits that claim other outputs: public value, its cell, and its looked-up digit."""
    edits = []
    for (row, lane, packed), change in zip(cells, changes, strict=True):
        if change:
            edits += [("public", lane, row, change), ("a", lane, row, change)]
            if packed:
                edits.append(("q", lane, row, change))
    return edits


def accepted(made, inputs, changes, *, around=(), options=None):
    """Return which of the forger's ways to claim outputs that differ by `changes` pass: none should.

    Besides the claim alone, every row's quotient and remainder are moved against each other: by one, and d the other
    way, for each divisor in `around`.
    """
    assert failures(made, inputs, [], options) == []
    claim = claimed(outputs_at(made, options), changes)
    ways = [[]]
    places = sorted({(lane, row) for column, lane, row in read_cells(made, options) if column != "a"})
    for (lane, row), by, d in itertools.product(places, (1, -1), around):
        ways += [
            [("q", lane, row, by), ("r", lane, row, -by * d)],
            [("q", lane, row, by), ("r", lane, row, -by * d), ("a", lane, row, by)],
        ]
    return [way for way in ways if not failures(made, inputs, claim + way, options)]


def matmul(batch, rows, columns):
    weights = np.arange(rows * columns).reshape(1, rows, columns) % 12 - 3
    x, w = ops.Input("x", (1, batch, rows), -9, 9), ops.Constant((1, rows, columns), -9, 9, None)
    return model((x,), (w,), (ops.MatMul(), 0, 1), w1=weights)


@pytest.mark.parametrize("options", [PUBLIC, PRIVATE])
def test_errors_that_cancel_along_a_diagonal_are_noticed(options):
    """C[0][1] += d with C[1][0] -= d: upstream uses one sequence of powers for rows and columns."""
    made = matmul(2, 2, 2)
    x = [[1, -2], [3, 4]]
    for d in (1, -2, 7):
        assert accepted(made, [x], [0, d, -d, 0], options=options) == []
        assert accepted(made, [x], [d, 0, 0, -d], options=options) == []


@pytest.mark.parametrize("options", [PUBLIC, PRIVATE])
def test_a_small_error_vector_in_a_single_row_is_noticed(options):
    """Where the challenge is known, lattice reduction finds small errors that it does not see."""
    made = matmul(1, 2, 6)
    random = np.random.Generator(np.random.PCG64(1))
    for _ in range(6):
        errors = random.integers(-2, 3, size=6).tolist()
        if any(errors):
            assert accepted(made, [[[5, -7]]], errors, options=options) == []


def test_a_product_of_two_computed_matrices_is_checked_on_both_sides():
    made = model((ops.Input("x", (1, 2, 2), -9, 9),), (ops.Input("z", (1, 2, 2), -9, 9),), (ops.MatMul(), 0, 1))
    inputs = [[[1, 2], [3, 4]], [[5, -6], [7, 8]]]
    for changes in ([0, 1, -1, 0], [1, 0, 0, -1], [1, -1, -1, 1], [0, 0, 3, 0]):
        assert accepted(made, inputs, changes) == []


def test_every_square_is_a_square():
    """Upstream's gate covers the first of the squares in a row alone."""
    made = model((ops.Input("x", (6,), -5, 5),), (ops.Mul(), 0, 0))
    for place in range(6):
        changes = [int(place == i) for i in range(6)]
        assert accepted(made, [[1, -2, 3, -4, 5, 0]], changes) == []


@pytest.mark.parametrize("divisor", [2, 6, 64])
@pytest.mark.parametrize("by", [1, -1])
def test_a_rescaled_value_has_one_quotient(divisor, by):
    """Off by one, at ties too, with a remainder below zero or too large by as much as makes up for it."""
    made = model((ops.Input("x", (1,), -300, 300),), (ops.Rescale(divisor), 0))
    for x in (0, divisor // 2, divisor // 2 - 1, -divisor // 2, 3 * divisor + divisor // 2, -200, 199):
        if -16 < (x + divisor // 2) // divisor + by < 16:
            assert accepted(made, [[x]], [by], around=(divisor, 1, 0)) == []


@pytest.mark.parametrize("by", [1, -1])
def test_a_quotient_of_computed_values_is_the_rounded_one(by):
    made = model((ops.Input("x", (1,), -60, 60),), (ops.Input("z", (1,), 1, 9),), (ops.Divide(), 0, 1))
    for x, y in ((7, 2), (-7, 2), (13, 9), (0, 5), (60, 7)):
        assert accepted(made, [[x], [y]], [by], around=(y, 2 * y, 1)) == []


def test_a_divisor_that_could_be_zero_or_negative_is_no_divisor():
    """Upstream assumes that a softmax's denominator is positive, and does not check it."""
    for low in (0, -3):
        with pytest.raises(ConfigError, match="not positive"):
            model((ops.Input("x", (1,), -60, 60),), (ops.Input("z", (1,), low, 9),), (ops.Divide(), 0, 1))


def test_a_denominator_cannot_be_altered():
    """Sum of exponentials: a clamp keeps it positive, and the clamped cell is what the quotient uses."""
    made = model(
        (ops.Input("x", (1, 2), 0, 7),),
        (ops.Lookup(0, 2 ** np.arange(8)), 0),
        (ops.Sum((1,)), 1),
        (ops.Clamp(1, 300), 2),
        (ops.Divide(), 1, 3),
    )
    cells = [cell for cell in read_cells(made) if cell[0] == "a"]
    for cell, by in itertools.product(cells, (1, -1)):
        assert failures(made, [[[3, 5]]], [(*cell, by)])


@pytest.mark.parametrize(
    "table", [np.arange(16) ** 2, [int(i**0.5) for i in range(16)], 255 // (1 + np.arange(16))], ids=str
)
def test_a_table_has_no_other_rows(table):
    """Squares, roots off by one, reciprocals: a pair that is none of the table's, with counts that would fit."""
    made = model((ops.Input("x", (1,), 0, 15),), (ops.Lookup(0, np.asarray(table)), 0))
    for x, by in itertools.product((0, 3, 15), (1, -1)):
        low, high = int(np.min(table)), int(np.max(table))
        if low <= int(table[x]) + by <= high:
            assert accepted(made, [[x]], [by], around=(0, 1)) == []


def test_an_average_by_another_divisor_is_noticed():
    """Upstream assigns divisors as unconstrained advice; here they are in the key."""

    def average(divisor):
        return model((ops.Input("x", (1, 4), 0, 30),), (ops.Sum((1,)), 0), (ops.Rescale(divisor), 1))

    right, wrong = average(4), average(5)
    x = [[10, 20, 30, 16]]
    (answer, other) = (
        int(execute_integers(each, {"x": np.array([x])}).outputs["y2"].reshape(-1)[0]) for each in (right, wrong)
    )
    assert answer != other
    assert accepted(right, [x], [other - answer], around=(4, 5)) == []


def test_look_ups_are_counted_once_each():
    """Counts moved from one entry to another, forged, or one look-up counted twice."""
    made = model((ops.Input("x", (3,), 0, 7),), (ops.Lookup(0, np.arange(8)[::-1]), 0))
    inputs = [[1, 1, 4]]
    assert failures(made, inputs, []) == []
    for row in range(12):
        assert failures(made, inputs, [("counts", 0, row, 1)])
        assert failures(made, inputs, [("counts", 0, row, 1), ("counts", 0, row + 1, 1)])
        assert failures(made, inputs, [("counts", 0, row, 2**32)])


def test_cells_that_nothing_reads_change_nothing():
    """A convolution leaves coefficients that belong to nobody: they are free, and no answer depends on them."""
    made = model(
        (ops.Input("x", (1, 1, 4, 4), 0, 3),),
        (ops.Constant((1, 1, 2, 2), -3, 3, None),),
        (ops.Conv2d((1, 1), (0, 0, 0, 0), (1, 1), 1), 0, 1),
        w1=[[[[1, -2], [3, 1]]]],
    )
    x = [[[[1, 2, 3, 0], [0, 1, 2, 3], [3, 3, 0, 1], [2, 1, 0, 2]]]]
    read = set(read_cells(made))
    rows = {row for _, _, row in read}
    lanes = {lane for _, lane, _ in read}
    free = [cell for cell in itertools.product("qr", lanes, rows) if cell not in read]
    for cell in free[:20]:
        assert failures(made, [x], [(*cell, 5)]) == []
    for place in range(9):
        assert accepted(made, [x], [int(i == place) for i in range(9)]) == []


@pytest.mark.parametrize(("low", "high"), [(0, 7), (-5, 9), (-(2**20), 2**20 + 3)])
def test_hidden_inputs_keep_to_their_interval_and_to_their_commitment(low, high):
    """In the statement stands a commitment, so that the circuit itself has to know what it commits to."""
    made = model((ops.Input("x", (2,), low, high),), (ops.Rescale(7), 0), (ops.Clamp(0, 3), 1))
    options = {"weights": "public", "inputs": "private"}
    assert failures(made, [[low, high]], [], options) == []
    cells = [("a", 0, 0)]
    for _, lane, row in cells:
        # The committed value alone, the value that is used alone, and both beyond either end of the interval.
        assert failures(made, [[low, high]], [("hidden", lane, row, 1)], options)
        assert failures(made, [[high, low]], [("a", lane, row, 1)], options)
    for x, by in (([high, high], 1), ([high, high], high - low + 1), ([high, high], 2**40)):
        for _, lane, row in cells:
            both = [("hidden", lane, row, by), ("a", lane, row, by)]
            assert failures(made, [x], both, options)
            assert failures(made, [x], [*both, ("q", lane, row, by)], options)


@pytest.mark.parametrize("high", [31, 4095])
def test_values_side_by_side_in_one_public_value_do_not_reach_into_each_other(high):
    """By a table of the interval, or by limbs where there is none; lanes without an input hold values too."""
    import balance_zkml_prover as prover

    made = model(
        (ops.Input("x", (1, 1, 21, 21), 0, high),),
        (ops.Constant((1, 1, 2, 2), -3, 3, None),),
        (ops.Conv2d((19, 19), (0, 0, 0, 0), (1, 1), 1), 0, 1),
        (ops.Rescale(64), 2),
        (ops.Clamp(0, 31), 3),
        w1=[[[[1, 2], [-1, 3]]]],
    )
    plan = prover.plan(encode_structure(made), PUBLIC)
    assert plan["lanes"] > 1
    assert plan["table_entries"] > high or high == 4095
    x = [np.arange(441) * 67 % (high + 1)]
    assert failures(made, x, []) == []
    # The first rows of inputs, and the last, where a lane is empty; a value with limbs takes two rows.
    height = 1 if high == 31 else 2
    last = -(-441 // plan["lanes"]) * height - height
    read = set(read_cells(made))
    bits, lanes = high.bit_length(), range(1, plan["lanes"])
    for row, lane, sign in itertools.product((0, height, last - height, last), lanes, (1, -1)):
        # The public value stays as it is; the digits of the value that grows are moved in each way that would fit.
        moved = [("a", lane - 1, row, sign * 2**bits), ("a", lane, row, -sign)]
        digits = {("q", lane - 1, row), ("r", lane - 1, row), ("r", lane - 1, row + height - 1)} & read
        ways = [[], *([(*digit, sign * 2**shift)] for digit in digits for shift in range(bits + 1))]
        assert digits
        assert all(failures(made, x, moved + way) for way in ways)


def test_columns_of_hidden_inputs_hold_nothing_else():
    made = model((ops.Input("x", (2,), 0, 7),), (ops.Mul(), 0, 0))
    options = {"weights": "public", "inputs": "private"}
    # Beyond the rows of public values an observer could not open the commitment: the column is zero there.
    assert failures(made, [[3, 4]], [], options) == []
    outputs = {row for row, _, _ in outputs_at(made, options)}
    assert outputs
    for row in outputs:
        assert failures(made, [[3, 4]], [("hidden", 0, row, 1)], options)


def test_padding_between_private_weights_is_zero():
    """A weight where none belongs would lead an input into another layer, or widen a kernel."""
    import balance_zkml_prover as prover

    made = matmul(1, 40, 41)  # more weights than rows, and an odd number of columns
    structure, values = encode_structure(made), encode_weights(made)
    plan = prover.plan(structure, PRIVATE)
    places = plan["lanes"] * plan["taps"]
    assert places > 1
    assert prover.altered_digits(structure, values, []) == []
    weights = padding = 0
    for place, row in itertools.product(range(places), range(0, 1640 // places, 17)):
        # No digit may be 300; a weight may be one more, but nothing but zero may stand where there is none.
        assert prover.altered_digits(structure, values, [("weights", place, row, 300)])
        by_one = bool(prover.altered_digits(structure, values, [("weights", place, row, 1)]))
        padding += by_one
        weights += not by_one
    assert padding > 0
    assert weights > 0


@pytest.fixture(scope="module")
def proven(tmp_path_factory):
    """Return keys of two circuits that differ in a divisor alone, and a proof under the first."""
    import balance_zkml_prover as prover

    folder = tmp_path_factory.mktemp("divisors")
    found = []
    for divisor in (4, 5):
        made = model((ops.Input("x", (1, 4), 0, 30),), (ops.Sum((1,)), 0), (ops.Rescale(divisor), 1))
        structure, values = encode_structure(made), encode_weights(made)
        string = folder / "string"
        k = max(prover.plan(structure, PUBLIC)["k"], 8)
        if not string.exists():
            prover.make_test(k, string)
        key = prover.setup(structure, string, {**PUBLIC, "k": k, "values": values})["key"]
        proof = prover.Prover(structure, values, key, string).prove(bytes(32), [[10, 20, 30, 16]])
        found.append((key, proof))
    return found


def test_another_circuits_key_takes_no_proof(proven):
    import balance_zkml_verifier as verifier

    (first, proof), (second, other) = proven
    assert first != second
    verifier.verify(first, None, proof)
    verifier.verify(second, None, other)
    for key, wrong in ((second, proof), (first, other)):
        with pytest.raises(ValueError, match="refuses it"):
            verifier.verify(key, None, wrong)


def test_a_forked_process_verifies_under_the_key_of_its_parent(proven):
    from balance_zkml.native import verify

    (key, proof), _ = proven
    before = verify(key, None, proof)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(verify, (key, None, proof)).get(timeout=60) == before


def test_constraints_cannot_be_switched_off(proven):
    """Selectors are in the key, as points: exchanged for others, the key is another circuit's and takes no proof."""
    import balance_zkml_verifier as verifier

    (key, proof), _ = proven
    refused = 0
    for at in range(len(key) - 32, len(key) - 32 * 30, -32):
        for source in (key[at - 32 : at], key[at - 64 : at - 32]):
            forged = key[:at] + source + key[at + 32 :]
            if forged != key:
                with pytest.raises(ValueError, match=r"."):
                    verifier.verify(forged, None, proof)
                refused += 1
    assert refused > 20


def test_a_statement_holds_integers_of_its_intervals_alone(proven):
    """No fraction, no residue and no larger integer has an encoding: the verifier makes the public column itself."""
    import balance_zkml_verifier as verifier

    (key, proof), _ = proven
    for place in range(32, 37):
        for value in (31, 128, 255):
            forged = proof[:place] + bytes([value]) + proof[place + 1 :]
            if forged != proof:
                with pytest.raises(ValueError, match=r"interval|refuses it"):
                    verifier.verify(key, None, forged)


def test_hidden_inputs_of_another_request_do_not_fit(tmp_path):
    """Commitments swapped between lanes, taken from another proof, or put in place of none."""
    import balance_zkml_prover as prover
    import balance_zkml_verifier as verifier

    made = matmul(1, 4, 2)
    structure, values = encode_structure(made), encode_weights(made)
    options = {"weights": "private", "inputs": "private"}
    string = tmp_path / "string"
    prover.make_test(prover.plan(structure, options)["k"], string)
    key = prover.setup(structure, string, options)["key"]
    committed = prover.commit(structure, values, key, string, PROVIDER)
    given = (committed["commitment"], PROVIDER)

    def prove(inputs, blind, context=bytes(32)):
        return prover.Prover(structure, values, key, string, committed["opening"]).prove(context, [inputs], blind)

    one, two = prove([1, 2, 3, 4], bytes([1] * 32)), prove([4, 3, 2, 1], bytes([2] * 32))
    points = len(verifier.verify(key, given, one)[4])
    assert verifier.verify(key, given, one)[4] != verifier.verify(key, given, two)[4]
    # The same blinding for other inputs, or for another request, is another blinding.
    assert verifier.hide(key, bytes(32), [[1, 2, 3, 4]], bytes([1] * 32)) != verifier.hide(
        key, bytes([1] * 32), [[1, 2, 3, 4]], bytes([1] * 32)
    )
    end = 32 + points
    forged = [one[:32] + two[32:end] + one[end:], one[:32] + bytes(32) + one[64:], one[:32] + one[end:]]
    if points > 32:
        forged.append(one[:32] + one[64:96] + one[32:64] + one[96:])
    link = 7 * 32
    forged += [one[:-link] + two[-link:], one[:-link]]
    for wrong in forged:
        with pytest.raises(ValueError, match=r"."):
            verifier.verify(key, given, wrong)
    for wrong in ([[1, 2, 3]], [[1, 2, 3, 10]], [], [[1, 2, 3, 4], [1]]):
        with pytest.raises(ValueError, match=r"input"):
            verifier.hide(key, bytes(32), wrong, bytes(32))
    with pytest.raises(ValueError, match="belongs to private"):
        prover.Prover(structure, values, key, string, committed["opening"]).prove(bytes(32), [[1, 2, 3, 4]])
