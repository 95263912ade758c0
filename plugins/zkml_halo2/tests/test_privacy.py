"""What travels tells nothing of private weights and inputs, and who may open what."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

import balance_core as balance
from balance_core import registering
from balance_core.bundle import Bundle
from balance_core.chain import ProofRecord
from balance_core.errors import ConfigError, InvalidProof
from balance_core.keys import KeyStore
from balance_core.records import HiddenTensor, InputOpening, Proof
from balance_core.signing import SignedRegistration, SigningKey
from balance_core.testing.models import mlp
from balance_core.workspace import Workspace

from .workshop import ENGINE, native, run

pytestmark = [pytest.mark.plugin("zkml_halo2"), native]
MODEL, INPUT = "mlp.onnx", "x.npy"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with a model, inputs and a workspace of their own."""
    folder = tmp_path_factory.mktemp("privacy")
    onnx.save(mlp(seed=1), folder / MODEL)
    np.save(folder / INPUT, np.random.default_rng(0).uniform(-1, 1, (4, 1, 4)).astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def private(place):
    """Return a run with everything private."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BALANCE_HOME", str(place / "home"))
        settings = {"inputs": "private"}
        yield balance.run(place / MODEL, place / INPUT, index=2, backend="zkml_halo2", settings=settings)


@pytest.fixture(autouse=True)
def home(place, monkeypatch):
    monkeypatch.setenv("BALANCE_HOME", str(place / "home"))


def opened(private):
    return InputOpening.from_json((private.folder / "opening.json").read_bytes())


def test_a_bundle_does_not_name_the_model_whose_weights_are_private(private):
    bundle = balance.read_bundle(private.bundle)
    secret = private.receipt.model.model_id.encode()
    assert bundle.registration.check().model_id is None
    assert bundle.commitment is not None
    assert all(secret not in claim for claim in bundle.claims.values())


def test_promises_are_those_of_the_settings(private, place):
    assert private.receipt.promises.private_weights
    assert private.receipt.promises.private_input
    settings = {"weights": "public"}
    public = balance.run(place / MODEL, place / INPUT, backend="zkml_halo2", settings=settings, name="public")
    assert not public.receipt.promises.private_weights
    assert not public.receipt.promises.private_input
    assert public.receipt.registration.model_id == public.receipt.model.model_id
    assert not (public.folder / "opening.json").exists()
    assert "fidelity" in balance.read_bundle(public.bundle).claims


def test_a_bundle_tells_nothing_of_a_private_input_but_its_commitment(private):
    (given,) = private.statement.inputs
    assert isinstance(given, HiddenTensor)
    bundle = balance.read_bundle(private.bundle)
    assert sorted(bundle.claims) == ["making"]
    (known,) = opened(private).inputs
    # Neither as the proof would state them in the open, nor as a record writes them, nor as the user gave them.
    low = min(known.integers)
    packed = bytes(value - low for value in known.integers)
    written = ",".join(map(str, known.integers)).encode()
    floats = np.float32(known.real()).tobytes()
    assert not any(secret in bundle.to_bytes() for secret in (packed, written, floats))


def test_who_knows_the_input_opens_the_proof(private, capsys):
    opening = private.folder / "opening.json"
    assert opening.stat().st_mode & 0o077 == 0
    verified = balance.verify(private.bundle, opening=opening)
    (shown,) = verified.opened_inputs
    expected = np.load(private.folder.parents[2] / INPUT)[2]
    assert np.max(np.abs(shown.real() - expected)) <= float(shown.scale)
    assert run("verify", private.bundle) == 0
    assert "hidden behind the commitment" in capsys.readouterr().out
    assert run("verify", private.bundle, "--opening", opening) == 0
    assert "(opened)" in capsys.readouterr().out


def test_another_input_blind_or_request_does_not_open_it(private, tmp_path):
    right = opened(private)
    (given,) = right.inputs
    moved = given.model_copy(update={"integers": (given.integers[0] + 1, *given.integers[1:])})
    scaled = given.model_copy(update={"denominator": given.denominator * 2})
    for change in (
        {"inputs": (moved,)},
        {"inputs": (scaled,)},
        {"inputs": ()},
        {"inputs": (given, given)},
        {"blind": "00" * 32},
        {"context": "00" * 32},
        {"circuit_id": "00" * 32},
    ):
        wrong = tmp_path / "opening.json"
        wrong.write_bytes(right.model_copy(update=change).to_json())
        with pytest.raises(InvalidProof):
            balance.verify(private.bundle, opening=wrong)
    wrong.write_bytes(b"{}")
    with pytest.raises(ConfigError):
        balance.verify(private.bundle, opening=wrong)


def test_public_inputs_are_not_opened(place, private):
    public = balance.run(place / MODEL, place / INPUT, index=2, backend="zkml_halo2", name="open")
    (given,) = public.statement.inputs
    assert given == opened(private).inputs[0]
    named = {"circuit_id": public.statement.circuit_id, "context": public.statement.context}
    with pytest.raises(InvalidProof, match="nothing to open"):
        balance.verify(public.bundle, opening=opened(private).model_copy(update=named))


def test_a_chain_learns_a_private_input_by_its_commitment_alone(private):
    (record,) = (
        ProofRecord.from_value(event.record)
        for event in balance.registry.create("chains", "ledger").events()
        if event.record_kind == ProofRecord.kind and event.record["context"] == private.statement.context
    )
    assert record.inputs_digest == private.statement.inputs_digest


def stolen(bundle, thief, *, commitment="same", **changes):
    """Return a bundle's parts, registered by another provider."""
    taken = bundle.commitment if commitment == "same" else commitment
    wanted = {"provider": thief.public, "commitment_id": taken and taken.commitment_id, **changes}
    registration = bundle.registration.registration.model_copy(update=wanted)
    return SignedRegistration.sign(registration, thief), bundle.key, taken, bundle.proof


def test_a_copied_commitment_is_refused_under_another_providers_key(private):
    bundle, thief = balance.read_bundle(private.bundle), SigningKey.generate()
    # As it is: the core sees whose it is.
    with pytest.raises(InvalidProof, match="is of the provider"):
        Bundle(*stolen(bundle, thief))
    # With his own name on it: the core cannot tell, and whoever verifies refuses the registration's proof.
    renamed = bundle.commitment.model_copy(update={"provider": thief.public})
    with pytest.raises(InvalidProof, match="model commitment: halo2 refuses it"):
        balance.verify(Bundle(*stolen(bundle, thief, commitment=renamed)).to_bytes())


def test_a_commitment_is_checked_also_where_a_good_one_was_before_it(private):
    """What was checked once is kept for further proofs, and for nothing else."""
    from balance_zkml.verifier import Halo2Verifier

    bundle, verifier = balance.read_bundle(private.bundle), Halo2Verifier()
    key, good, proof = bundle.key, bundle.commitment, bundle.proof
    data = bytearray.fromhex(good.data)
    altered = []
    for place in (0, 33, len(data) // 2, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        altered.append(good.model_copy(update={"data": changed.hex()}))
    others = [*altered, good.model_copy(update={"provider": "11" * 32}), None]
    for _ in range(2):
        assert verifier.verify(key, good, proof)
        for other in others:
            with pytest.raises(InvalidProof):
                verifier.verify(key, other, proof)


def test_a_copied_commitment_is_refused_in_another_circuit(private, place):
    bundle = balance.read_bundle(private.bundle)
    other = balance.run(place / MODEL, place / INPUT, backend="zkml_halo2", name="other", settings={"bits": 10})
    held = balance.read_bundle(other.bundle)
    assert held.key.circuit_id != bundle.key.circuit_id
    key = KeyStore(Workspace.default().keys).default()
    registration = held.registration.registration.model_copy(
        update={"commitment_id": bundle.commitment.commitment_id}
    )
    moved = Bundle(SignedRegistration.sign(registration, key), held.key, bundle.commitment, held.proof)
    with pytest.raises(InvalidProof, match="model commitment"):
        balance.verify(moved.to_bytes())


def test_its_own_provider_may_register_a_commitment_again(private):
    """A next version, or another name, of the same circuit and commitment: the proofs say as much under both."""
    bundle, key = balance.read_bundle(private.bundle), KeyStore(Workspace.default().keys).default()
    before = bundle.registration.registration
    changes = {"version": before.version + 1, "previous": before.registration_id}
    again = Bundle(*stolen(bundle, key, **changes))
    verified = balance.verify(again.to_bytes())
    assert verified.registration_id != before.registration_id
    with pytest.raises(InvalidProof, match="and not of"):
        balance.verify(again.to_bytes(), registration=before.registration_id)


def test_a_proof_for_one_context_states_no_other(private):
    bundle = balance.read_bundle(private.bundle)
    altered = Proof(bundle.proof.backend, bytes([bundle.proof.data[0] ^ 1]) + bundle.proof.data[1:])
    moved = Bundle(bundle.registration, bundle.key, bundle.commitment, altered)
    with pytest.raises(InvalidProof):
        balance.verify(moved.to_bytes())


def test_a_model_is_registered_with_the_key_that_it_was_committed_for(private, place):
    KeyStore(Workspace.default().keys).create("second")
    mine = registering.find(Workspace.default(), private.receipt.registration.registration_id)
    from balance_core.pipeline import Pipeline

    with Pipeline(Workspace.default(), "zkml_halo2", {"inputs": "private"}) as pipeline:
        key = KeyStore(Workspace.default().keys).load("second")
        with pytest.raises(ConfigError, match="made for the provider"):
            registering.register(pipeline, mine.preparation, key=key, chain=None)
    again = balance.setup(place / MODEL, place / INPUT, backend="zkml_halo2", key="second", name="second", chain=None)
    assert again.registration.provider == key.public
    assert again.registration.commitment_id != private.receipt.registration.commitment_id


def test_reproducing_says_that_private_weights_were_not_compared(private, place, capsys):
    found = balance.reproduce(place / MODEL, private.bundle)
    assert found.agrees
    assert not found.weights_compared
    assert run("reproduce", place / MODEL, private.bundle) == 0
    assert "weights were not compared" in capsys.readouterr().out


def test_plugins_show_what_settings_promise(capsys):
    assert run("plugins", "show", "zkml_halo2") == 0
    shown = capsys.readouterr().out
    assert "no, unless other settings say so" in shown
    assert run("plugins", "show", "zkml_halo2", "-o", "weights=public", "-o", "inputs=private") == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    promised = {" ".join(words[:2]): words[2:] for words in shown if words[:1] == ["private"]}
    assert promised["private weights"] == ["no,", "unless", "other", "settings", "say", "so"]
    assert promised["private input"] == ["yes"]


def test_commands_prove_private_inputs(tmp_path, capsys):
    folder = min(ENGINE.iterdir())
    out = ("-o", "inputs=private", "--out", tmp_path)
    assert run("zkml", "time-circuit", folder / "model.msgpack", folder / "inp.msgpack", *out) == 0
    paths = (tmp_path / name for name in ("vkey", "proof", "public_vals"))
    assert run("zkml", "verify-circuit", folder / "config.msgpack", *paths) == 0
    assert "Proof verified!" in capsys.readouterr().out
    expected = json.loads((folder / "expected.json").read_text())["outputs"]
    assert len((tmp_path / "public_vals").read_bytes()) == 32 * len(expected)
