"""Keys and refusals, as far as they are decided outside the native halves."""

from __future__ import annotations

import numpy as np
import pytest
from balance_zkml import NAME, native
from balance_zkml.backend import Halo2Backend, _problem
from balance_zkml.verifier import Halo2Verifier

from balance_core.errors import ConfigError, InvalidProof, ToolNotFound
from balance_core.integer import IntegerModel, Node, Output
from balance_core.integer import operations as ops
from balance_core.integer.interface import structure_bytes
from balance_core.records import ModelCommitment, Proof, VerifyingKey

pytestmark = pytest.mark.plugin("zkml_halo2")


@pytest.fixture
def model():
    nodes = (
        Node(ops.Input("x", (2,), -4, 4), label="x"),
        Node(ops.Constant((2,), -7, 7, None), label="w"),
        Node(ops.Mul(), (0, 1), label="product"),
    )
    return IntegerModel(nodes, (Output("y", 2),), {1: np.array([3, -2])})


@pytest.mark.parametrize(
    ("backend", "change"),
    [
        ("ezkl", {}),
        (NAME, {"key": None}),
        (NAME, {"structure": None}),
        (NAME, {"srs": b""}),
        (NAME, {"structure": b""}),
        (NAME, {"structure": b"\xff" * 99}),
        (NAME, {"key": bytes(native.MAX_KEY_BYTES + 1)}),
    ],
)
def test_a_key_of_another_form_is_refused(model, backend, change):
    parts = {"key": b"k", "structure": structure_bytes(model)} | change
    key = VerifyingKey(backend, {name: data for name, data in parts.items() if data is not None})
    with pytest.raises(InvalidProof):
        Halo2Verifier().verify(key, None, Proof(NAME, b""))
    if change.keys() != {"structure"}:
        with pytest.raises(InvalidProof):
            Halo2Verifier().setup_trust(key)


def test_proofs_and_commitments_of_other_backends_are_refused(model):
    key = VerifyingKey(NAME, {"key": b"k", "structure": structure_bytes(model)})
    with pytest.raises(InvalidProof, match="ezkl"):
        Halo2Verifier().verify(key, None, Proof("ezkl", b""))
    with pytest.raises(InvalidProof, match="ezkl"):
        Halo2Verifier().verify(key, ModelCommitment(backend="ezkl", provider="00" * 32, data="00"), Proof(NAME, b""))
    with pytest.raises(InvalidProof, match="more than"):
        Halo2Verifier().verify(key, None, Proof(NAME, bytes(native.MAX_PROOF_BYTES + 1)))


def test_a_layouts_refusal_names_the_node_as_its_author_does(model):
    named = _problem(model, "node 2 mul: it is too wide")
    assert (named.node, named.operator, named.reason) == ("product", "mul", "it is too wide")
    for reason in ("it is too wide", "node 3 mul: it is too wide", "node 2"):
        whole = _problem(model, reason)
        assert (whole.node, whole.reason) == ("model", reason)


def test_weights_are_private_unless_said_otherwise():
    assert not Halo2Backend().key_binds_weights
    settings = Halo2Backend.settings_class
    assert Halo2Backend(settings.parse({"weights": "public"}, owner=NAME)).key_binds_weights
    with pytest.raises(ConfigError, match="weights"):
        settings.parse({"weights": "unbound"}, owner=NAME)


def test_a_prover_that_is_not_installed_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(native, "PROVER", "balance_zkml_prover_that_is_not_there")
    with pytest.raises(ToolNotFound) as refusal:
        Halo2Backend().make_test_srs("bn254", 4, tmp_path / "target")
    assert "balance-zkml[prover]" in refusal.value.hint
