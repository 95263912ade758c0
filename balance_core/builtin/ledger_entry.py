"""One entry of the embedded ledger: what its signature covers, and how the next entry is tied to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

from pydantic import Field, model_validator

from balance_core import canonical, signing
from balance_core.chain import RECORD_KINDS, ChainRecord, ClaimRecord
from balance_core.chain_state import Event
from balance_core.errors import ChainError, ConfigError, InvalidProof, Rejected
from balance_core.records import Digest, Name, PublicKey, Record, Signature

if TYPE_CHECKING:
    from balance_core.signing import SigningKey

MAX_ENTRY_BYTES = 64 * 1024
"""Largest canonical JSON of one entry's record."""
_TIMED = get_args(ClaimRecord)
"""Records that mean something else at another time."""
_ENTRY_DOMAIN = "ledger-entry"
_HEAD_DOMAIN = "ledger-head"


def genesis(ledger_id: str) -> str:
    """Return what the first entry names as its predecessor's hash."""
    return canonical.digest("ledger-genesis/1", bytes.fromhex(ledger_id))


@dataclass(frozen=True)
class Entry:
    """A record at its place in one ledger, signed by whoever put it there."""

    ledger_id: str
    sequence: int
    """Counted from 1."""
    previous: str
    """The hash of the entry before, or the ledger's `genesis`."""
    kind: str
    record: bytes
    """Canonical JSON."""
    inline: str | None
    """The CID of the bytes kept with the entry."""
    signer: str
    signature: str

    @classmethod
    def sign(cls, event: Event, key: SigningKey, *, after: LedgerHead, inline: str | None) -> Entry:
        """Make the entry that follows a head; raises Rejected for a record that is too large."""
        record = TimedRecord.of(event) if event.time else event.record
        data = record.to_json()
        if len(data) > MAX_ENTRY_BYTES:
            raise Rejected(f"the {event.record.kind} record has {len(data)} bytes, more than {MAX_ENTRY_BYTES}")
        kind, sequence = record.kind, after.length + 1
        draft = cls(after.ledger_id, sequence, after.hash, kind, data, inline, key.public, signature="")
        return replace(draft, signature=signing.sign(key, _ENTRY_DOMAIN, draft._signed_bytes))

    @classmethod
    def from_row(cls, ledger_id: str, previous: str, row: tuple[Any, ...]) -> Entry:
        """Build an entry from a row that anybody may have written; raises ChainError for values of the wrong form."""
        sequence, stored_previous, kind, record, inline, signer, signature = row
        texts = (stored_previous, kind, signer, signature)
        if (
            not isinstance(sequence, int)
            or not all(isinstance(text, str) for text in texts)
            or not isinstance(record, bytes)
            or not isinstance(inline, (str, type(None)))
        ):
            raise ChainError(f"entry {sequence!r:.40} of the ledger holds values of the wrong type")
        if stored_previous != previous:
            raise ChainError(
                f"entry {sequence} does not follow the entry before it: one was altered, moved or removed",
                hint="ask for a copy from somebody who countersigned a head of this ledger",
            )
        return cls(ledger_id, sequence, previous, kind, record, inline, signer, signature)

    @cached_property
    def _signed_bytes(self) -> bytes:
        return canonical.encode(
            {
                "inline": self.inline,
                "kind": self.kind,
                "ledger": self.ledger_id,
                "previous": self.previous,
                "record": sha256(self.record).hexdigest(),
                "sequence": self.sequence,
            }
        )

    @property
    def hash(self) -> str:
        """The digest that the next entry names."""
        return canonical.digest("ledger-entry/1", self._signed_bytes, self.signer.encode(), self.signature.encode())

    def event(self) -> Event:
        """Return the record and its signer; raises ChainError unless the signature covers all of it."""
        try:
            signing.verify(self.signer, self.signature, _ENTRY_DOMAIN, self._signed_bytes)
            record, time = self._parsed()
        except (InvalidProof, ConfigError) as error:
            raise ChainError(
                f"entry {self.sequence} of the ledger was altered: {error.message}",
                hint="ask for a copy from somebody who countersigned a head of this ledger",
            ) from error
        return Event(record, self.signer, time)

    def _parsed(self) -> tuple[ChainRecord, int]:
        if self.kind == TimedRecord.kind:
            timed = TimedRecord.from_json(self.record, max_size=MAX_ENTRY_BYTES)
            return _record_class(timed.record_kind).from_value(timed.record), timed.time
        record_class = _record_class(self.kind)
        if record_class in _TIMED:
            raise ConfigError(f"a {self.kind} does not say when it was written")
        return record_class.from_json(self.record, max_size=MAX_ENTRY_BYTES), 0


class TimedRecord(Record):
    """A record whose meaning depends on when it was written, with the time that its writer says it was."""

    kind: ClassVar[str] = "timed"
    time: int = Field(ge=1, lt=2**48)
    """In seconds since 1970."""
    record_kind: Name
    record: dict[str, Any]

    @classmethod
    def of(cls, event: Event) -> Self:
        """Join an event's record and time."""
        return cls(time=event.time, record_kind=event.record.kind, record=event.record.model_dump(mode="json"))

    @model_validator(mode="after")
    def _is_one_of_those(self) -> Self:
        record_class = _record_class(self.record_kind)
        # One encoding: the record as it would be written by itself.
        if record_class not in _TIMED or record_class.from_value(self.record).to_json() != canonical.encode(
            self.record
        ):
            raise ValueError(f"this is no {self.record_kind} that has a time")
        return self


def _record_class(kind: str) -> type[ChainRecord]:
    found = RECORD_KINDS.get(kind)
    if found is None:
        raise ConfigError(f"a record of kind {kind[:40]!r} is unknown to this version of Balance")
    return found


class LedgerHead(Record):
    """The length of a ledger and the hash of its last entry: whoever holds one finds a rewrite and a cut tail."""

    kind: ClassVar[str] = "ledger-head"
    ledger_id: Digest
    length: int = Field(ge=0)
    hash: Digest


class SignedHead(Record):
    """A head with the signature of somebody who relies on it."""

    kind: ClassVar[str] = "signed-head"
    head: LedgerHead
    signer: PublicKey
    signature: Signature

    def check(self) -> LedgerHead:
        """Return the head if the signature is right; raises InvalidProof."""
        signing.verify(self.signer, self.signature, _HEAD_DOMAIN, self.head)
        return self.head


def countersign(head: LedgerHead, key: SigningKey) -> SignedHead:
    """Sign a head that one relies on; kept by both sides, it shows a later rewrite to anybody."""
    return SignedHead(head=head, signer=key.public, signature=signing.sign(key, _HEAD_DOMAIN, head))


class LedgerReport(Record):
    """A ledger that holds together, as far as it can tell by itself and against a head."""

    kind: ClassVar[str] = "ledger-report"
    head: LedgerHead
    signers: tuple[PublicKey, ...]
    """Everybody who put an entry there."""
    inline_blobs: int
    checked_against: LedgerHead | None = None
    """None: nobody outside vouches for its order, and a rewrite by its owner or a cut tail would not show."""
    countersigned_by: PublicKey | None = None
