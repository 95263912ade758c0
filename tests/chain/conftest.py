"""A ledger to write to, with a few keys and records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from balance_core import cid
from balance_core.builtin.ledger import Ledger, LedgerSettings
from balance_core.chain import Attestation, ProofRecord
from balance_core.keys import KeyStore
from balance_core.records import Registration, SetupTrust, Trust

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class World:
    """One ledger and the keys of those who write to it."""

    folder: Path

    def __post_init__(self):
        self.path = self.folder / "ledger.db"
        self.store = KeyStore(self.folder / "keys")

    def key(self, who: str = "alice"):
        return self.store.load(who) if who in self.store.names() else self.store.create(who)

    def ledger(self, who: str = "alice", **settings) -> Ledger:
        self.key(who)
        values = {"path": self.path, "key": who, "keys": self.store.folder}
        return Ledger(LedgerSettings(**values | settings))

    def registration(self, who: str = "alice", **changes) -> Registration:
        values = {
            "name": "mnist",
            "backend": "fake",
            "backend_version": "1",
            "circuit_id": "00" * 32,
            "setup_trust": SetupTrust(trust=Trust.TRANSPARENT),
            "provider": self.key(who).public,
        }
        return Registration(**values | changes)

    def proof(self, number: int = 0, **changes) -> ProofRecord:
        values = {
            "registration_id": self.registration().registration_id,
            "context": f"{number:064x}",
            "inputs_digest": "33" * 32,
            "statement_digest": "44" * 32,
            "bundle": cid.of_bytes(b"bundle"),
        }
        return ProofRecord(**values | changes)

    def attestation(self, record: ProofRecord, who: str, *, valid: bool = True) -> Attestation:
        return Attestation(
            proof_id=record.proof_id,
            statement_digest=record.statement_digest,
            valid=valid,
            validator=self.key(who).public,
        )

    def filled(self, entries: int = 6) -> Ledger:
        """Return a ledger with one registration and proofs, the first with bytes inline."""
        ledger = self.ledger()
        ledger.register(self.registration(), key="r")
        for number in range(entries - 1):
            ledger.submit(self.proof(number), key=f"p{number}", inline=b"inline" if number == 0 else None)
        return ledger


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)
