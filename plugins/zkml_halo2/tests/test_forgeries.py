"""What a dishonest prover could change, and that it is noticed: cells, counts, weights, links, keys, statements."""

from __future__ import annotations

import dataclasses
import random
from fractions import Fraction

import numpy as np
import pytest

from balance_core.integer import IntegerModel, Node, Output
from balance_core.integer import operations as ops
from balance_core.integer.encoding import encode_structure, encode_weights

from .workshop import PROVIDER, native

pytestmark = [pytest.mark.plugin("zkml_halo2"), native]

SEED = 7
INPUTS = [[3, -5, 7, 1]]


def everything(weight_seed=SEED):
    """Return a model with every kind of row: layers, tables, windows, limbs, products, quotients, comparisons."""
    generator = np.random.Generator(np.random.PCG64(weight_seed))
    nodes = [
        Node(ops.Input("x", (1, 4), -8, 8)),
        Node(ops.Constant((4, 4), -127, 127, None)),
        Node(ops.MatMul(), (0, 1)),
        Node(ops.Constant((1, 4), -900, 900, None)),
        Node(ops.Add(), (2, 3)),
        Node(ops.Rescale(16), (4,)),
        Node(ops.Clamp(0, 63), (5,)),
        Node(ops.Clamp(1, 100000), (4,)),
        Node(ops.Divide(), (4, 7)),
        Node(ops.Mul(), (4, 4)),
        Node(ops.Less(), (9, 4)),
        Node(ops.Max((1,)), (6,)),
        Node(ops.ArgMax((1,)), (4,)),
        Node(ops.Rescale(7), (9,)),
        Node(ops.Clamp(-50, 50), (13,)),
        Node(ops.Lookup(-50, np.arange(101)[::-1]), (14,)),
    ]
    nodes = [dataclasses.replace(node, scale=Fraction(1)) for node in nodes]
    outputs = tuple(Output(f"o{i}", i) for i in (8, 10, 11, 12, 15))
    weights = {
        1: generator.integers(-127, 128, size=(4, 4)).astype(np.int64),
        3: generator.integers(-900, 901, size=(1, 4)).astype(np.int64),
    }
    return IntegerModel(tuple(nodes), outputs, weights)


def noticed(weights, edits):
    import balance_zkml_prover as prover

    model = everything()
    return prover.altered(encode_structure(model), encode_weights(model), {"weights": weights}, INPUTS, edits)


@pytest.fixture(scope="module")
def cells():
    import balance_zkml_prover as prover

    return prover.read_cells(encode_structure(everything()), {"weights": "private"})


def test_the_honest_witness_is_accepted():
    assert noticed("private", []) == []
    assert noticed("public", []) == []


@pytest.mark.parametrize("by", [1, -1, 2**40])
def test_every_cell_that_a_constraint_reads_is_determined(cells, by):
    chosen = random.Random(by).sample(cells, min(len(cells), 120))
    free = [cell for cell in chosen if not noticed("private", [(*cell, by)])]
    assert free == []


def test_changes_that_cancel_in_a_sum_are_noticed(cells):
    # C[0][1] += d with C[1][0] -= d, which a challenge known beforehand would let pass
    values = [cell for cell in cells if cell[0] == "a"]
    for first, second in zip(values[:-1:5], values[1::5], strict=False):
        assert noticed("private", [(*first, 3), (*second, -3)])


def test_counts_of_look_ups_are_determined():
    for row in range(4):
        assert noticed("private", [("counts", 0, row, 1)])


def test_other_weights_are_noticed():
    assert noticed("private", [("weights", 0, row, 1) for row in range(3)])


def registered(edits):
    import balance_zkml_prover as prover

    model = everything()
    return prover.altered_digits(encode_structure(model), encode_weights(model), edits)


def test_registered_weights_are_in_their_ranges_and_padding_is_zero():
    import balance_zkml_prover as prover

    assert registered([]) == []
    columns = prover.plan(encode_structure(everything()), {"weights": "private"})
    places = range(columns["lanes"] * columns["taps"])
    found = 0
    for place in places:
        for row in range(columns["rows"]):
            try:
                # 300 is no digit, whether a weight stands there or padding; rows without weights read nothing
                found += bool(registered([("weights", place, row, 300)]))
            except ValueError:
                continue
    assert found >= sum(array.size for array in everything().weights.values())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a key with private weights, two commitments to it, and a proof under the first."""
    import balance_zkml_prover as prover

    first, second = everything(), everything(SEED + 1)
    structure = encode_structure(first)
    assert structure == encode_structure(second)
    string = tmp_path_factory.mktemp("srs") / "string"
    prover.make_test(prover.plan(structure, {"weights": "private"})["k"], string)
    key = prover.setup(structure, string, {"weights": "private"})["key"]
    commitments = [
        prover.commit(structure, encode_weights(model), key, string, PROVIDER) for model in (first, second)
    ]
    again = prover.commit(structure, encode_weights(first), key, string, PROVIDER)
    weights = encode_weights(first), encode_weights(second)

    def prove(values=weights[0], opening=commitments[0]["opening"], context=bytes(32), inputs=INPUTS):
        return prover.Prover(structure, values, key, string, opening).prove(context, inputs)

    return {
        "key": key,
        "structure": structure,
        "string": string,
        "commitments": [*(c["commitment"] for c in commitments), again["commitment"]],
        "openings": [*(c["opening"] for c in commitments), again["opening"]],
        "weights": weights,
        "prove": prove,
        "proof": prove(),
    }


def verify(key, commitment, proof, provider=PROVIDER):
    import balance_zkml_verifier as verifier

    return verifier.verify(key, None if commitment is None else (commitment, provider), proof)


def test_the_honest_proof_verifies(made):
    context, _, inputs, *_ = verify(made["key"], made["commitments"][0], made["proof"])
    assert (context, inputs) == (bytes(32), INPUTS)


def test_a_retrained_model_needs_no_other_key(made):
    proof = made["prove"](made["weights"][1], made["openings"][1])
    verify(made["key"], made["commitments"][1], proof)


def test_a_proof_with_other_weights_than_the_registered_ones_does_not_verify(made):
    # the prover makes such a proof, and its own verification refuses it
    with pytest.raises(ValueError, match="the weights are not the registered ones"):
        made["prove"](made["weights"][1], made["openings"][0])


def test_a_proof_holds_under_its_own_commitment_only(made):
    for other in (made["commitments"][1], made["commitments"][2]):
        with pytest.raises(ValueError, match=r"halo2 refuses it|not the registered"):
            verify(made["key"], other, made["proof"])


def test_a_missing_an_empty_and_a_surplus_commitment_are_refused(made):
    with pytest.raises(ValueError, match="missing"):
        verify(made["key"], None, made["proof"])
    with pytest.raises(ValueError, match="too early"):
        verify(made["key"], b"", made["proof"])
    with pytest.raises(ValueError, match="further bytes"):
        verify(made["key"], made["commitments"][0] + bytes(32), made["proof"])


def test_the_link_of_another_proof_does_not_fit(made):
    other = made["prove"](context=bytes([1] * 32))
    link = 7 * 32  # a point and six scalars
    for forged in (
        made["proof"][:-link] + other[-link:],
        other[:-link] + made["proof"][-link:],
        made["proof"][:-link],
    ):
        with pytest.raises(ValueError, match=r"registered|refuses|early|encoding"):
            verify(made["key"], made["commitments"][0], forged)


def test_a_registration_proof_of_other_columns_does_not_fit(made):
    first, second = made["commitments"][:2]
    for size in range(32, 32 * 8, 32):
        with pytest.raises(ValueError, match="model commitment"):
            verify(made["key"], first[:size] + second[size:], made["proof"])


def test_another_context_is_refused(made):
    with pytest.raises(ValueError, match="halo2 refuses it"):
        verify(made["key"], made["commitments"][0], bytes([1]) + made["proof"][1:])


def test_bits_that_the_library_ignores_are_not_ignored(made):
    head = len(made["proof"]) % 32
    for at in range(head, len(made["proof"]), 32 * 9):
        for bit in (0x80, 0x40):
            forged = bytearray(made["proof"])
            forged[at + 31] ^= bit
            with pytest.raises(ValueError, match=r"encoding|refuses|registered|modulus|interval"):
                verify(made["key"], made["commitments"][0], bytes(forged))


def test_trailing_bytes_and_truncations_are_refused(made):
    for forged in (made["proof"] + b"\0", made["proof"] + bytes(32), made["proof"][:-1], made["proof"][:-32], b""):
        with pytest.raises(ValueError, match=r"early|further|refuses"):
            verify(made["key"], made["commitments"][0], forged)


def test_altered_keys_are_refused(made):
    generator = random.Random(SEED)
    for _ in range(60):
        forged = bytearray(made["key"])
        forged[generator.randrange(len(forged))] ^= 1 << generator.randrange(8)
        with pytest.raises(ValueError, match=r"."):
            verify(bytes(forged), made["commitments"][0], made["proof"])


@pytest.mark.parametrize("at", [8, 12, 14, 16])
def test_keys_of_shapes_that_no_plan_has_are_refused_before_anything_is_laid_out(made, at):
    # k, lanes, taps, table sets: expressions of thousands of columns nest so deep that a small stack overflows
    forged = bytearray(made["key"])
    forged[at] = 255
    with pytest.raises(ValueError, match="beyond what is allowed"):
        verify(bytes(forged), made["commitments"][0], made["proof"])


def test_another_string_makes_another_key_and_its_proofs_do_not_verify(made, tmp_path):
    import balance_zkml_prover as prover

    string = tmp_path / "other"
    prover.make_test(prover.plan(made["structure"], {"weights": "private"})["k"], string)
    key = prover.setup(made["structure"], string, {"weights": "private"})["key"]
    assert key != made["key"]
    with pytest.raises(ValueError, match=r"."):
        verify(key, made["commitments"][0], made["proof"])


@pytest.mark.soak
def test_ten_thousand_mutations_are_clean_refusals(made):
    generator = random.Random(SEED)
    for _ in range(10_000):
        parts = [made["key"], made["commitments"][0], made["proof"]]
        which = generator.randrange(3)
        forged = bytearray(parts[which])
        for _ in range(generator.choice((1, 1, 2, 40))):
            forged[generator.randrange(len(forged))] = generator.randrange(256)
        if bytes(forged) == parts[which]:
            continue
        parts[which] = bytes(forged)
        with pytest.raises(ValueError, match=r"."):
            verify(*parts)
