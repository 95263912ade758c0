"""What a registry's log amounts to: its events as records of the core, given to the core's reducer.

Anybody may write to a registry, in an account of his own. An event that the reducer refuses, or whose record names
another provider than the account stands for, says nothing about anybody else: it is passed over by all readers alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from balance_core.chain import (
    Answer,
    Attestation,
    ChainEvent,
    ChainRecord,
    ChainRef,
    Challenge,
    Claim,
    ProofRecord,
    Revocation,
    Settlement,
    Verification,
    Withdrawal,
)
from balance_core.chain_state import Event, Replay, decide
from balance_core.errors import BalanceError, ChainError
from balance_core.records import Registration
from balance_evm import NAME, codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from balance_evm.abi import Interface
    from balance_evm.mirror import Entry

_TYPES = {
    "revocation": "revoked",
    "proof-record": "submitted",
    "verification": "verified",
    "attestation": "attested",
    "claim": "claimed",
    "challenge": "challenged",
    "answer": "answered",
    "settlement": "settled",
    "withdrawal": "withdrawn",
}


class EventsMissing(ChainError):
    """The node told of an event and not of those before it."""


@dataclass(frozen=True)
class Model:
    """A registration under its owner's account, with what the chain adds to it."""

    name: bytes
    owner: str
    registration_id: str
    terms: dict[str, Any]


class Chronicle:
    """The entries of one registry up to a point, replayed."""

    def __init__(self, interface: Interface, chain_id: int, registry: str, *, trusting: bool = False) -> None:
        self._interface, self._chain_id, self._registry = interface, chain_id, registry
        self._trusting = trusting
        """Whether accounts are believed whose keys they write for: in a dry run, where only one writes."""
        self.replay = Replay()
        self.place = 0
        """The newest entry that was read."""
        self.sequence = 0
        """The number of counted events, told or passed over."""
        self.bound: dict[str, str] = {}
        """The key that each account writes for, once it said so."""
        self.accounts: dict[str, str] = {}
        """The first account that each key was bound to."""
        self.models: dict[bytes, Model] = {}
        self.by_registration: dict[str, Model] = {}
        self.records: dict[bytes, ProofRecord | Claim] = {}
        """What answers are about, by the registry's names for them."""
        self.answers: dict[str, bytes] = {}
        """The registry's name for each answer, by its proof_id."""
        self.told: dict[str, ChainEvent] = {}
        """The event that a record's `event_id` stands in."""
        self._ranks: dict[str, int] = {}

    def identity(self, address: str) -> str:
        """Return how records name an account: by the key that it is bound to, or by its address."""
        address = address.lower()
        return self.bound.get(address, codec.identity_of(address))

    def account(self, identity: str) -> str | None:
        """Return the account that writes for whom records name so."""
        return codec.address_in(identity) or self.accounts.get(identity)

    def told_of(self, record: ChainRecord) -> ChainEvent | None:
        """Return the newest event with a record, whoever wrote it."""
        wanted = record.model_dump(mode="json")
        found = (event for event in reversed(self.told.values()) if event.record == wanted)
        return next(found, None)

    def extend(self, entries: Iterable[Entry]) -> dict[int, dict[str, Any]]:
        """Read the entries that follow, and return what readers are told of them, by place."""
        told = {}
        for entry in entries:
            event = self._read(entry)
            self.place = entry.place
            if event is not None:
                told[entry.place] = event.model_dump(mode="json")
        return told

    def _read(self, entry: Entry) -> ChainEvent | None:
        rank = self._ranks[entry.tx] = self._ranks.get(entry.tx, -1) + 1
        found = self._interface.event(entry.log)
        if found is None:
            return None
        name, values = found
        self._count(values)
        handler = self._HANDLERS.get(name)
        if handler is None:
            return None
        try:
            read = handler(self, values)
            if read is None:
                return None
            record, signer = read
            event = Event(record, signer, entry.time, checked=isinstance(record, Verification))
            change = decide(self.replay.state, event)
        except BalanceError:
            return None
        if not change.events:
            return None
        self.replay.apply(change)
        self._accept(record, values)
        told = ChainEvent.from_value(
            {
                "ref": ChainRef(chain=NAME, entry=f"{entry.tx}/{rank}").model_dump(),
                "cursor": cursor(entry),
                "type": _type(record, signer),
                "signer": signer,
                "record_kind": record.kind,
                "record": record.model_dump(mode="json"),
                "time": entry.time,
            }
        )
        self.told[event.event_id.hex()] = told
        return told

    def _count(self, values: dict[str, Any]) -> None:
        """Check that no event is missing: each that counts says which one it is."""
        if "sequence" not in values:
            return
        if values["sequence"] != self.sequence + 1:
            raise _missing(f"number {values['sequence']} follows {self.sequence}")
        self.sequence += 1

    def expect(self, counted: int) -> None:
        """Check that as many events were read as the registry had counted when its log was."""
        if self.sequence < counted:
            raise _missing(f"it has counted {counted}, and {self.sequence} were told")

    def _accept(self, record: ChainRecord, values: dict[str, Any]) -> None:
        """Remember what later events refer to."""
        if isinstance(record, Registration):
            owner = str(values["terms"]["owner"]).lower()
            model = Model(values["model"], owner, record.registration_id, values["terms"])
            self.models[model.name] = self.by_registration[record.registration_id] = model
        elif isinstance(record, (ProofRecord, Claim)):
            self.records[values["answer"]] = record
            self.answers[record.proof_id] = values["answer"]

    # Each of these returns the record that an event stands for, and who wrote it.

    def _key_bound(self, values: dict[str, Any]) -> None:
        account, key = str(values["account"]).lower(), values["key"].hex()
        if account in self.bound or codec.address_in(key) is not None:
            return
        signed = codec.is_binding(key, values["signature"], account, self._chain_id, self._registry)
        if signed or self._trusting:
            self.bound[account] = key
            self.accounts.setdefault(key, account)

    def _registered(self, values: dict[str, Any]) -> tuple[ChainRecord, str] | None:
        record = codec.registration(values["registration"])
        if record.registration_id != values["registrationId"].hex():
            return None
        owner = str(values["terms"]["owner"])
        known = self.by_registration.get(record.registration_id)
        if self.identity(owner) != record.provider or (known is not None and known.name != values["model"]):
            return None
        return record, self.identity(values["signer"])

    def _verifier_bound(self, values: dict[str, Any]) -> None:
        model = self.models.get(values["model"])
        if model is not None:
            given = {"verifier": values["verifier"], "verifyingKey": values["verifyingKey"], "cid": values["cid"]}
            changed = Model(model.name, model.owner, model.registration_id, {**model.terms, **given})
            self.models[model.name] = self.by_registration[model.registration_id] = changed

    def _revoked(self, values: dict[str, Any]) -> tuple[ChainRecord, str]:
        model = self._model(values)
        revocation = Revocation.from_value({"registration_id": model.registration_id, "reason": values["reason"]})
        return revocation, self.identity(values["signer"])

    def _submitted(self, values: dict[str, Any]) -> tuple[ChainRecord, str]:
        record = ProofRecord.from_value(
            {
                **self._said(values, values["said"]),
                "bundle": values["bundle"],
            }
        )
        return self._checked(record, values), self.identity(values["signer"])

    def _verified(self, values: dict[str, Any]) -> tuple[ChainRecord, str]:
        known = self._record(values)
        record = Verification(proof_id=known.proof_id, statement_digest=known.statement_digest)
        return record, codec.identity_of(self._registry)

    def _attested(self, values: dict[str, Any]) -> tuple[ChainRecord, str]:
        word, validator = values["word"], self.identity(values["validator"])
        self._model(word)
        record = Attestation(
            proof_id=word["proofId"].hex(),
            statement_digest=word["statementDigest"].hex(),
            valid=word["valid"],
            validator=validator,
        )
        return record, validator

    def _claimed(self, values: dict[str, Any]) -> tuple[ChainRecord, str]:
        claim = values["claim"]
        record = Claim.from_value(
            {
                **self._said({"model": claim["model"]}, claim["said"]),
                "content": claim["content"],
                "bond": claim["bond"],
                "challenge_bond": claim["challengeBond"],
                "challenge_seconds": claim["challengeSeconds"],
                "answer_seconds": claim["answerSeconds"],
            }
        )
        return self._checked(record, values), self.identity(values["claimant"])

    def _challenged(self, values: dict[str, Any]) -> tuple[ChainRecord, str]:
        challenger = self.identity(values["challenger"])
        return Challenge(proof_id=self._record(values).proof_id, challenger=challenger), challenger

    def _answered(self, values: dict[str, Any]) -> tuple[ChainRecord, str]:
        return Answer(proof_id=self._record(values).proof_id), self.identity(values["signer"])

    def _settled(self, values: dict[str, Any]) -> tuple[ChainRecord, str]:
        return Settlement(proof_id=self._record(values).proof_id), self.identity(values["signer"])

    def _withdrawn(self, values: dict[str, Any]) -> tuple[ChainRecord, str]:
        account = self.identity(values["account"])
        number = self.replay.state.withdrawals.get(account, 0) + 1
        return Withdrawal.from_value({"account": account, "number": number, "amount": values["amount"]}), account

    def _model(self, values: dict[str, Any]) -> Model:
        model = self.models.get(values["model"])
        if model is None:
            raise ChainError("the event is of a model that is passed over")
        return model

    def _record(self, values: dict[str, Any]) -> ProofRecord | Claim:
        record = self.records.get(values["answer"])
        if record is None:
            raise ChainError("the event is of an answer that is passed over")
        return record

    def _said(self, values: dict[str, Any], said: dict[str, Any]) -> dict[str, str]:
        return {
            "registration_id": self._model(values).registration_id,
            "context": said["context"].hex(),
            "inputs_digest": said["inputsDigest"].hex(),
            "statement_digest": said["statementDigest"].hex(),
        }

    @staticmethod
    def _checked(record: ChainRecord, values: dict[str, Any]) -> ChainRecord:
        if getattr(record, "proof_id", None) != values["proofId"].hex():
            raise ChainError("the registry names the answer otherwise")
        return record

    _HANDLERS: ClassVar[dict[str, Callable[[Chronicle, dict[str, Any]], tuple[ChainRecord, str] | None]]] = {
        "KeyBound": _key_bound,
        "Registered": _registered,
        "VerifierBound": _verifier_bound,
        "Revoked": _revoked,
        "ProofSubmitted": _submitted,
        "ProofVerified": _verified,
        "ProofAttested": _attested,
        "ClaimOpened": _claimed,
        "ClaimChallenged": _challenged,
        "ClaimAnswered": _answered,
        "ClaimSettled": _settled,
        "Withdrawn": _withdrawn,
    }


def _missing(what: str) -> EventsMissing:
    return EventsMissing(
        f"the node left out events of the registry: {what}",
        hint="use another node, or another block to read from: -o chain.from_block=N",
    )


def cursor(entry: Entry) -> str:
    """Return the name of an entry's place, which also tells whether its block is still the chain's."""
    return f"{entry.block}:{entry.hash}:{entry.position}"


def _type(record: ChainRecord, signer: str) -> str:
    if isinstance(record, Registration):
        return "registered" if signer == record.provider else "proposed"
    return _TYPES[record.kind]
