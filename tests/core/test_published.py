"""A published proof is fetched by its id, checked here, and compared with what the chain says."""

from __future__ import annotations

import numpy as np
import pytest

import balance_core
from balance_core import cid
from balance_core.builtin.ledger import Ledger
from balance_core.bundle import Bundle
from balance_core.chain import Attestation, ProofRecord
from balance_core.cli import invoke
from balance_core.errors import BlobNotFound, ConfigError, InvalidProof, Rejected
from balance_core.keys import KeyStore
from balance_core.published import verify_published
from balance_core.testing.models import mlp
from balance_core.workspace import Workspace


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("BALANCE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def record(home):
    """What a run put on the ledger."""
    del home
    balance_core.run(mlp(seed=1), np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32), backend="integer")
    return next(ProofRecord.from_value(event.record) for event in Ledger().events() if event.type == "submitted")


def test_a_published_proof_is_checked_by_its_id(record, capsys):
    found = verify_published(record.proof_id, chain="ledger")
    assert found.record == record
    assert not found.checked_by_chain
    assert found.verified.statements[0].digest == record.statement_digest
    assert invoke(["verify", record.proof_id, "--chain", "ledger"]) == 0
    assert "submitted; 0 validators say valid" in capsys.readouterr().out


def test_what_validators_say_is_counted(record):
    key = KeyStore(Workspace.default().keys).default()
    for number, valid in enumerate((True, False)):
        word = Attestation(
            proof_id=record.proof_id, statement_digest=record.statement_digest, valid=valid, validator=key.public
        )
        Ledger().attest(word, key=f"word-{number}")
        found = verify_published(record.proof_id, chain="ledger")
        # Whoever says both has said nothing.
        assert (found.attested_valid, found.attested_invalid) == ((1, 0) if number == 0 else (0, 0))


def test_a_record_that_does_not_fit_its_bundle_is_refused(record):
    other = record.model_copy(update={"context": "77" * 32})
    Ledger().submit(other, key="other")
    with pytest.raises(InvalidProof, match="something else"):
        verify_published(other.proof_id, chain="ledger")


def test_a_bundle_that_nobody_keeps_is_missed(record):
    other = record.model_copy(update={"context": "78" * 32, "bundle": cid.of_bytes(b"nothing")})
    Ledger().submit(other, key="gone")
    with pytest.raises(BlobNotFound):
        verify_published(other.proof_id, chain="ledger")


def test_what_is_no_published_proof_is_refused(home):
    del home
    with pytest.raises(ConfigError):
        verify_published("proof.balance", chain="ledger")
    with pytest.raises(Rejected):
        verify_published("0" * 64, chain="ledger")


def test_bundles_are_what_records_name(record):
    assert Bundle.from_bytes(Workspace.default().blob(record.bundle).read_bytes()).cid == record.bundle
