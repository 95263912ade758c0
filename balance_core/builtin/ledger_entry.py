"""One entry of the embedded ledger: what its signature covers, and how the next entry is tied to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from balance_core import canonical, signing
from balance_core.chain import RECORD_KINDS, ChainRecord
from balance_core.chain_state import Event
from balance_core.errors import ChainError, ConfigError, InvalidProof, Rejected
from balance_core.records import Digest, PublicKey, Record, Signature

if TYPE_CHECKING:
    from balance_core.signing import SigningKey

MAX_ENTRY_BYTES = 64 * 1024
"""Largest canonical JSON of one entry's record."""
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
        data = event.record.to_json()
        if len(data) > MAX_ENTRY_BYTES:
            raise Rejected(f"the {event.record.kind} record has {len(data)} bytes, more than {MAX_ENTRY_BYTES}")
        kind, sequence = event.record.kind, after.length + 1
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
            record = self._parsed()
        except (InvalidProof, ConfigError) as error:
            raise ChainError(
                f"entry {self.sequence} of the ledger was altered: {error.message}",
                hint="ask for a copy from somebody who countersigned a head of this ledger",
            ) from error
        return Event(record, self.signer)

    def _parsed(self) -> ChainRecord:
        record_class = RECORD_KINDS.get(self.kind)
        if record_class is None:
            raise ConfigError(f"a record of kind {self.kind[:40]!r} is unknown to this version of Balance")
        return record_class.from_json(self.record, max_size=MAX_ENTRY_BYTES)


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
