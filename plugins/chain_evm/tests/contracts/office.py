"""The registry with a few accounts, and what they write to it: the core's records, as the contract takes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from balance_evm.artifacts import artifact
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak

from balance_core import cid
from balance_core.chain import Attestation, Claim, ProofRecord
from balance_core.records import Registration, SetupTrust, Trust

from .machine import CHAIN_ID, Contract, Machine, Told

PEOPLE = ("alice", "bob", "carol", "dave")
TRUSTS = (Trust.CEREMONY, Trust.TRANSPARENT, Trust.INSECURE_TEST)
NOBODY = "0x" + "00" * 20
NOTHING = bytes(32)
BUNDLE = cid.of_bytes(b"bundle")


def raw(digest: str | None) -> bytes:
    return bytes.fromhex(digest) if digest else NOTHING


@dataclass
class Office:
    """One registry and those who use it."""

    machine: Machine = field(default_factory=Machine)

    def __post_init__(self):
        self.registry: Contract = self.machine.deploy(artifact("BalanceRegistry"))
        self.accounts = {who: Account.from_key(keccak(text=who)) for who in PEOPLE}
        for account in self.accounts.values():
            self.machine.fund(account.address)

    def address(self, who: str) -> str:
        return self.accounts[who].address

    def key(self, who: str) -> str:
        """Return an account's name in the core: its address behind zeros."""
        return self.address(who)[2:].lower().rjust(64, "0")

    def who(self, key: str) -> str:
        return next(who for who in PEOPLE if self.key(who) == key)

    def registration(self, who: str = "alice", **changes: Any) -> Registration:
        values = {
            "name": "mnist",
            "backend": "fake",
            "backend_version": "1.0",
            "circuit_id": "c1" * 32,
            "setup_trust": SetupTrust(trust=Trust.TRANSPARENT),
            "provider": self.key(who),
        }
        return Registration(**values | changes)

    def next_version(self, of: Registration, **changes: Any) -> Registration:
        values = {"version": of.version + 1, "previous": of.registration_id, "circuit_id": "c2" * 32}
        return of.model_copy(update=values | changes)

    def fields(self, record: Registration) -> dict[str, Any]:
        """Return a registration as the contract takes it."""
        return {
            "name": record.name,
            "version": record.version,
            "backend": record.backend,
            "backendVersion": record.backend_version,
            "circuitId": raw(record.circuit_id),
            "commitmentId": raw(record.commitment_id),
            "trust": TRUSTS.index(record.setup_trust.trust),
            "parameters": raw(record.setup_trust.parameters),
            "provider": raw(record.provider),
            "modelDigest": raw(record.model_id),
            "previous": raw(record.previous),
        }

    def terms(self, owner: str = "alice", **changes: Any) -> dict[str, Any]:
        values = {
            "owner": self.address(owner),
            "verifier": NOBODY,
            "verifyingKey": NOTHING,
            "cid": "",
            "validators": [],
            "quorum": 0,
        }
        return values | changes

    def model(self, record: Registration) -> bytes:
        """Return the owner-scoped id, computed here."""
        return keccak(raw(record.provider) + raw(record.registration_id))

    def answer(self, record: ProofRecord | Claim) -> bytes:
        return keccak(self.models[record.registration_id] + raw(record.proof_id))

    @property
    def models(self) -> dict[str, bytes]:
        """The owner-scoped ids of all that was registered, by the core's."""
        return self.__dict__.setdefault("_models", {})

    def register(self, record: Registration, who: str = "alice", **terms: Any) -> list[Told]:
        told = self.registry.send(
            self.address(who), "register", self.fields(record), self.terms(self.who(record.provider), **terms)
        )
        self.models[record.registration_id] = self.model(record)
        return told

    def proof(self, of: Registration, number: int = 0, **changes: Any) -> ProofRecord:
        values = {
            "registration_id": of.registration_id,
            "context": f"{number:064x}",
            "inputs_digest": "a1" * 32,
            "statement_digest": "b1" * 32,
            "bundle": BUNDLE,
        }
        return ProofRecord(**values | changes)

    def said(self, record: ProofRecord | Claim) -> dict[str, bytes]:
        return {
            "context": raw(record.context),
            "inputsDigest": raw(record.inputs_digest),
            "statementDigest": raw(record.statement_digest),
        }

    def submit(self, record: ProofRecord, who: str = "alice", attached: bytes = b"") -> list[Told]:
        model = self.models[record.registration_id]
        return self.registry.send(self.address(who), "submit", model, self.said(record), record.bundle, attached)

    def verify(self, record: ProofRecord, evidence: tuple, who: str = "alice", **options: Any) -> list[Told]:
        model = self.models[record.registration_id]
        keys = ("material", "proof", "publicValues")
        given = dict(zip(keys, evidence, strict=True))
        return self.registry.send(
            self.address(who), "verify", model, self.said(record), record.bundle, given, **options
        )

    def word(self, record: ProofRecord, *, valid: bool = True, **changes: Any) -> dict[str, Any]:
        values = {
            "model": self.models[record.registration_id],
            "proofId": raw(record.proof_id),
            "statementDigest": raw(record.statement_digest),
            "valid": valid,
        }
        return values | changes

    def sign(self, who: str, word: dict[str, Any], **domain: Any) -> bytes:
        """Sign as any wallet does."""
        message = encode_typed_data(
            {
                "name": "BalanceRegistry",
                "version": "1",
                "chainId": CHAIN_ID,
                "verifyingContract": self.registry.address,
            }
            | domain,
            {
                "Attestation": [
                    {"name": "model", "type": "bytes32"},
                    {"name": "proofId", "type": "bytes32"},
                    {"name": "statementDigest", "type": "bytes32"},
                    {"name": "valid", "type": "bool"},
                ]
            },
            word,
        )
        return bytes(self.accounts[who].sign_message(message).signature)

    def attest(self, record: ProofRecord, who: str, *, valid: bool = True, by: str = "dave") -> list[Told]:
        word = self.word(record, valid=valid)
        return self.registry.send(self.address(by), "attest", word, self.sign(who, word))

    def attestation(self, record: ProofRecord, who: str, *, valid: bool = True) -> Attestation:
        return Attestation(
            proof_id=record.proof_id,
            statement_digest=record.statement_digest,
            valid=valid,
            validator=self.key(who),
        )

    def claim_record(self, of: ProofRecord, **changes: Any) -> Claim:
        values = {
            "registration_id": of.registration_id,
            "context": of.context,
            "inputs_digest": of.inputs_digest,
            "statement_digest": of.statement_digest,
            "content": of.bundle,
            "bond": 1001,
            "challenge_bond": 400,
            "challenge_seconds": 100,
            "answer_seconds": 50,
        }
        return Claim(**values | changes)

    def proof_of(self, claim: Claim, **changes: Any) -> ProofRecord:
        """Return the proof that would answer for a claim, with changes."""
        told = ("registration_id", "context", "inputs_digest", "statement_digest")
        return ProofRecord(**{name: getattr(claim, name) for name in told} | {"bundle": claim.content} | changes)

    def claim(self, record: Claim, who: str = "alice", *, value: int | None = None) -> list[Told]:
        given = {
            "model": self.models[record.registration_id],
            "said": self.said(record),
            "content": record.content,
            "bond": record.bond,
            "challengeBond": record.challenge_bond,
            "challengeSeconds": record.challenge_seconds,
            "answerSeconds": record.answer_seconds,
        }
        value = record.bond if value is None else value
        return self.registry.send(self.address(who), "claim", given, value=value)

    def challenge(self, answer: bytes, who: str = "carol", value: int = 400) -> list[Told]:
        return self.registry.send(self.address(who), "challenge", answer, value=value)

    def settle(self, answer: bytes, who: str = "dave") -> list[Told]:
        return self.registry.send(self.address(who), "settle", answer)

    def owed(self, who: str) -> int:
        return self.registry.get("owed", self.address(who) if who in PEOPLE else who)
