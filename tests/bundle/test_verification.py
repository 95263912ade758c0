"""Verification says what was proven, under which registration, and who vouches for that."""

from __future__ import annotations

import pytest

from balance_core.builtin.ledger import Ledger, LedgerSettings
from balance_core.chain import Revocation, Standing, Voucher
from balance_core.errors import ConfigError, InvalidProof, Rejected, ToolFailed
from balance_core.keys import KeyStore
from balance_core.records import SetupTrust, Trust
from balance_core.verification import NOBODY, Verified, verify, vouch

from .conftest import FakeVerifier, make

OTHER = make(name="other")


def test_a_proof_checked_against_nothing_is_vouched_for_by_nobody(bundle):
    found = verify(bundle, FakeVerifier())
    assert found.statements[0].outputs[0].integers == (7,)
    assert found.registration == bundle.registration.registration
    assert found.vouched_by == ()
    assert found.vouched == NOBODY
    assert Verified.from_json(found.to_json()) == found


@pytest.mark.parametrize("as_id", [True, False])
def test_a_registration_that_the_caller_gives_is_pinned(bundle, as_id):
    registration = bundle.registration.registration
    other = OTHER.registration.registration
    found = verify(bundle, FakeVerifier(), expected=registration.registration_id if as_id else registration)
    assert found.vouched == "the registration that the caller gave"
    with pytest.raises(InvalidProof, match="and not of"):
        verify(bundle, FakeVerifier(), expected=other.registration_id if as_id else other)


@pytest.mark.parametrize("expected", ["", "x", "00" * 32])
def test_anything_but_the_registrations_id_is_another_registration(bundle, expected):
    with pytest.raises(InvalidProof):
        verify(bundle, FakeVerifier(), expected=expected)


def test_a_bad_proof_is_the_verifiers_word():
    with pytest.raises(InvalidProof, match="does not hold"):
        verify(make(proof=b"garbage"), FakeVerifier())


@pytest.mark.parametrize("answer", [(), [], None, True, "yes", 1])
def test_a_verifier_that_states_nothing_proves_nothing(bundle, answer):
    verifier = FakeVerifier()
    verifier.verify = lambda *_: answer
    with pytest.raises(InvalidProof, match="states nothing"):
        verify(bundle, verifier)


def test_what_is_no_statement_proves_nothing(bundle):
    with pytest.raises(InvalidProof, match="no statement"):
        verify(bundle, FakeVerifier(answer=({"outputs": []},)))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"circuit_id": "00" * 32}, "about the circuit 00"),
        ({"commitment_id": "00" * 32}, "about the commitment 00"),
        ({"commitment_id": None}, "about the commitment None"),
    ],
)
def test_a_statement_about_something_else_is_refused(bundle, changes, match):
    with pytest.raises(InvalidProof, match=match):
        verify(bundle, FakeVerifier(**changes))


def test_every_statement_is_looked_at(bundle):
    good = FakeVerifier().verify(bundle.key, bundle.commitment, bundle.proof)
    bad = FakeVerifier(circuit_id="00" * 32).verify(bundle.key, bundle.commitment, bundle.proof)
    assert len(verify(bundle, FakeVerifier(count=3)).statements) == 3
    with pytest.raises(InvalidProof):
        verify(bundle, FakeVerifier(answer=good + bad))


@pytest.mark.parametrize(
    "trust",
    [
        SetupTrust(trust=Trust.INSECURE_TEST),
        SetupTrust(trust=Trust.CEREMONY, parameters="00" * 32),
        SetupTrust(trust=Trust.TRANSPARENT, parameters="00" * 32),
    ],
)
def test_the_setup_is_judged_by_the_verifier_and_not_by_the_provider(bundle, trust):
    with pytest.raises(InvalidProof, match="the key's setup is"):
        verify(bundle, FakeVerifier(trust=trust))
    ours = make(setup_trust=trust)
    assert verify(ours, FakeVerifier(trust=trust)).setup_trust == trust


def test_a_verifier_that_crashes_is_a_failed_tool_and_no_verdict(bundle):
    verifier = FakeVerifier()
    verifier.verify = lambda *_: 1 / 0
    with pytest.raises(ToolFailed, match="ZeroDivisionError"):
        verify(bundle, verifier)
    with pytest.raises(ToolFailed, match="does not say where"):
        verify(bundle, FakeVerifier(trust="ceremony"))


@pytest.fixture
def world(tmp_path):
    """A ledger that holds the bundle's registration, and the bundle."""
    store = KeyStore(tmp_path / "keys")
    bundle = make(key=store.create("alice"))
    ledger = Ledger(LedgerSettings(path=tmp_path / "ledger.db", key="alice", keys=store.folder))
    ledger.register(bundle.registration.registration, key="r")
    return ledger, bundle


def test_a_ledger_vouches_with_its_id_and_entry(world):
    ledger, bundle = world
    voucher = vouch(ledger, "ledger", bundle.registration_id)
    found = verify(bundle, FakeVerifier(), voucher=voucher)
    assert found.vouched == f"ledger {ledger.head().ledger_id} entry 1"
    both = verify(bundle, FakeVerifier(), voucher=voucher, expected=bundle.registration_id)
    assert [word.chain for word in both.vouched_by] == [None, "ledger"]
    with pytest.raises(Rejected, match="is not on the ledger"):
        vouch(ledger, "ledger", OTHER.registration_id)


def test_a_voucher_for_another_registration_is_no_voucher(world):
    ledger, bundle = world
    with pytest.raises(InvalidProof, match="and not of"):
        verify(OTHER, FakeVerifier(), voucher=vouch(ledger, "ledger", bundle.registration_id))
    with pytest.raises(ConfigError, match="names a chain"):
        verify(bundle, FakeVerifier(), voucher=Voucher(registration_id=bundle.registration_id))


def test_a_superseded_registration_still_verifies_and_is_reported(world):
    ledger, bundle = world
    old = bundle.registration.registration
    ledger.register(old.model_copy(update={"version": 2, "previous": old.registration_id}), key="2")
    found = verify(bundle, FakeVerifier(), voucher=vouch(ledger, "ledger", bundle.registration_id))
    assert found.vouched_by[0].standing is Standing.SUPERSEDED
    assert found.vouched.endswith("entry 1, superseded")


def test_a_revoked_registration_is_rejected_unless_it_is_left_to_the_report(world):
    ledger, bundle = world
    ledger.revoke(Revocation(registration_id=bundle.registration_id, reason="wrong weights"), key="v")
    voucher = vouch(ledger, "ledger", bundle.registration_id)
    with pytest.raises(Rejected, match=r"was revoked: .*wrong weights"):
        verify(bundle, FakeVerifier(), voucher=voucher)
    found = verify(bundle, FakeVerifier(), voucher=voucher, accept_revoked=True)
    assert found.vouched.endswith("revoked: wrong weights")


def test_a_proposed_registration_is_not_in_force(world):
    ledger, bundle = world
    old = bundle.registration.registration
    proposed = make(version=2, previous=old.registration_id)
    ledger.register(proposed.registration.registration, key="2")
    with pytest.raises(Rejected, match="not in force"):
        verify(proposed, FakeVerifier(), voucher=vouch(ledger, "ledger", proposed.registration_id))


def test_a_chain_that_only_tells_registrations_vouches_too(world):
    ledger, bundle = world

    class Plain:
        def registration(self, _registration_id):
            return ledger.registration(bundle.registration_id)

    voucher = vouch(Plain(), "plain", bundle.registration_id)
    assert verify(bundle, FakeVerifier(), voucher=voucher).vouched_by == (voucher,)
    with pytest.raises(Rejected, match="answered with the registration"):
        vouch(Plain(), "plain", OTHER.registration_id)
