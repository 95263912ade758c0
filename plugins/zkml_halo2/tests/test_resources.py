"""What a proof is said to take, and what is said while it is made."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from balance_zkml import native as halves

from balance_core.integer.encoding import encode_structure, encode_weights
from balance_core.testing.random_models import random_inputs, random_model

from .workshop import MODELS, lists, native

pytestmark = [pytest.mark.plugin("zkml_halo2"), native]
NAMES = ("iris_tree", "cancer_logreg", "mnist_mlp", "mnist_cnn", "lenet5", "mnist_transformer")


def shape_of(key):
    """Return what the head of a key says of its circuit: k, privacy, whole rows, and lanes, taps, table sets."""
    k, private, whole = key[8:11]
    return k, bool(private), bool(whole), *struct.unpack_from("<HHH", key, 12)


@pytest.fixture
def small(tmp_path):
    model = random_model(11)
    structure, values = encode_structure(model), encode_weights(model)
    string = tmp_path / "string"
    secrets = {"weights": "public", "inputs": "public"}
    k = halves.plan(structure, secrets).k
    halves.make_test_srs(k, string)
    key, _ = halves.setup(structure, string, secrets, k=k, values=values)
    inputs = lists(model.inputs, random_inputs(model, 11, 1), 0)

    def prove(watch, proofs=1):
        ready = halves.Prover(structure, values, key, string, opening=None, watch=watch)
        return [ready.prove(bytes(32), inputs, watch=watch) for _ in range(proofs)]

    return key, prove


def test_each_part_of_a_proof_is_said_when_it_begins(small):
    said = []
    key, prove = small
    (proof,) = prove(said.append)
    assert said == list(halves.PHASES)
    halves.verify(key, None, proof)
    done = [share for _, share in halves.PHASES.values()]
    assert done == sorted(done)


@pytest.mark.parametrize("phase", halves.PHASES)
def test_a_proof_stops_where_its_watch_raises(small, phase):
    class Cancelled(Exception):
        """What a cancelled job raises."""

    def watch(begun):
        if begun == phase:
            raise Cancelled(phase)

    with pytest.raises(Cancelled, match=phase):
        small[1](watch)


def test_further_proofs_of_one_prover_make_no_key_and_are_blinded_anew(small):
    said = []
    key, prove = small
    proofs = prove(said.append, proofs=3)
    assert said == [*halves.PHASES, *list(halves.PHASES)[2:] * 2]
    assert len(set(proofs)) == len(proofs)
    for proof in proofs:
        halves.verify(key, None, proof)


@pytest.mark.parametrize("weights", ["public", "private"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.skipif(not MODELS.is_dir(), reason="the trained models are not beside this clone")
def test_check_says_which_circuit_the_setup_makes(name, weights, tmp_path):
    import balance_zkml_prover

    from balance_core.integer import calibrate
    from balance_core.model.inputs import as_batch
    from balance_core.model.load import load

    model = load(MODELS / f"{name}.onnx")
    with np.load(MODELS / f"{name}.npz") as arrays:
        batch = as_batch({model.inputs[0].name: arrays["x"][:40]}, model.inputs)
    integer = calibrate(model.proto(), batch).model
    structure = encode_structure(integer)
    secrets = {"weights": weights, "inputs": "public"}
    plan = halves.plan(structure, secrets)
    string = tmp_path / "string"
    halves.make_test_srs(plan.k, string)
    values = encode_weights(integer) if weights == "public" else None
    key, facts = halves.setup(structure, string, secrets, k=plan.k, values=values)
    k, private, whole, lanes, taps, tables = shape_of(key)
    assert (k, private) == (plan.k, weights == "private")
    assert facts == {"lanes": lanes, "taps": taps, "tables": tables}
    # docs/zkml-soundness.md: what each lane, tap and set of tables has of its own, and what there is once
    early = 3 * lanes + tables
    late = 7 + 3 * lanes + tables - 1 + whole
    fixed = 19 + 3 * tables + (lanes if private else 0)
    assert plan.columns == early + late + fixed + lanes * taps
    cells = balance_zkml_prover.read_cells(structure, secrets)
    assert max(row for _, _, row in cells) < plan.rows <= 2**k - 8
    assert 0 < plan.seconds < 60
    assert 2**20 < plan.memory_bytes < 2**30
