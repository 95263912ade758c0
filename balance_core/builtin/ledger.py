"""The `ledger` chain: one SQLite file whose entries are signed, tied to each other, and replayed by the reducer.

What it proves by itself: nobody without the signers' keys altered, moved or removed an entry before the last. What it
does not: its owner can rewrite it, and a tail can be cut off. Both show against a head that somebody else kept.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from balance_core import cid as cids
from balance_core.builtin.ledger_claims import LedgerClaims
from balance_core.builtin.ledger_entry import Entry, LedgerHead, LedgerReport, SignedHead, countersign
from balance_core.builtin.ledger_file import MAX_INLINE_BYTES, LedgerFile, ledger_id
from balance_core.builtin.ledger_replay import SELECT_ALL, SELECT_BEHIND, ReplayedLedger
from balance_core.chain import ChainEvent, ChainRef, Finality, Voucher, Vouches
from balance_core.chain_state import Event, Replay, decide, vouched
from balance_core.contracts import ChainAdapter, HasHead, Signs
from balance_core.errors import ChainError, ConfigError, InvalidProof, Rejected
from balance_core.keys import DEFAULT_KEY, KeyStore
from balance_core.records import Registration
from balance_core.settings import Settings
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from balance_core.chain import Attestation, ChainRecord, ProofRecord, Revocation
    from balance_core.chain_state import State
    from balance_core.signing import SigningKey

_CHAIN = "ledger"
_EVENT_TYPES = {
    "revocation": "revoked",
    "proof-record": "submitted",
    "attestation": "attested",
    "claim": "claimed",
    "challenge": "challenged",
    "answer": "answered",
    "settlement": "settled",
    "withdrawal": "withdrawn",
}
_BATCH = 256


class LedgerSettings(Settings):
    """Which ledger, and who writes to it."""

    path: Path | None = Field(default=None, description="the ledger's file; by default in the data folder")
    key: str = Field(default=DEFAULT_KEY, description="the name of the key that signs new entries")
    keys: Path | None = Field(default=None, description="the folder of signing keys; by default in the data folder")
    read_only: bool = Field(default=False, description="only read, and change nothing beside the file either")
    wait_seconds: float = Field(default=30.0, gt=0, description="how long to wait for another process that writes")


class Ledger(ChainAdapter, Signs, Vouches, HasHead, LedgerClaims):
    """The embedded chain; any number of processes and threads may append at the same time."""

    api_version = 1
    settings_class: ClassVar[type[Settings]] = LedgerSettings
    settings: LedgerSettings
    local: ClassVar[bool] = True

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self.path = self.settings.path or Workspace.default().ledger
        self._file = LedgerFile(self.path, read_only=self.settings.read_only, wait_seconds=self.settings.wait_seconds)
        self._lock = threading.RLock()
        self._read: ReplayedLedger | None = None
        self._key: SigningKey | None = None

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            self._file.close()

    def register(self, registration: Registration, *, key: str) -> ChainRef:
        """Publish a registration, its next version, or the acceptance of one that was handed to this key."""
        return self._append(registration, key)

    def registration(self, registration_id: str) -> Registration:
        """Return a registration that its provider stands behind: active, or superseded and good for old proofs."""
        with self._lock:
            state = self.state()
        return vouched(state, registration_id, "the ledger")

    def voucher(self, registration_id: str) -> Voucher:
        """Return where the registration stands and how, whatever that is; raises Rejected for an unknown one."""
        with self._lock:
            state = self.state()
            found = state.registrations.get(registration_id)
            if found is None or self._read is None:
                raise Rejected(f"registration {registration_id} is not on the ledger")
            return Voucher(
                registration_id=registration_id,
                chain=_CHAIN,
                network=self._read.ledger_id,
                entry=str(found.position),
                standing=found.standing,
                successor=found.successor,
                reason=found.reason,
            )

    def revoke(self, revocation: Revocation, *, key: str) -> ChainRef:
        """Withdraw a registration; only the key of the line's newest version can."""
        return self._append(revocation, key)

    def submit(self, record: ProofRecord, *, key: str, inline: bytes | None = None) -> ChainRef:
        """Publish a proof, with up to 1 MiB of bytes that the entry's hash covers."""
        if inline is not None and len(inline) > MAX_INLINE_BYTES:
            raise Rejected(
                f"{len(inline)} bytes are too many to keep on the ledger: it takes {MAX_INLINE_BYTES}",
                hint="leave them in the storage: the record names their address",
            )
        return self._append(record, key, inline)

    def attest(self, attestation: Attestation, *, key: str) -> ChainRef:
        """Publish a validator's word; the ledger's key must be the validator's."""
        return self._append(attestation, key)

    def status(self, ref: ChainRef) -> Finality:
        """Say whether the entry is there: one that is, is final."""
        known = ref.chain == _CHAIN and _is_sequence(ref.entry)
        with self._lock:
            return Finality.FINAL if known and 1 <= int(ref.entry) <= self.state().length else Finality.UNKNOWN

    def events(self, since: str | None = None) -> Iterator[ChainEvent]:
        """Yield all entries behind a cursor, up to the newest; raises ChainError if the cursor's entry is gone."""
        with self._lock:
            newest = self.state().length
            sequence = self._position(since)
        while sequence < newest:
            with self._lock, self._file.reading() as connection:
                entries = self._refresh(connection).again(connection, sequence + 1, min(sequence + _BATCH, newest))
            for entry in entries:
                yield _event(entry)
                sequence = entry.sequence

    def inline(self, ref: ChainRef) -> bytes | None:
        """Return the bytes kept with an entry, checked against the entry; None where there are none."""
        if self.status(ref) is not Finality.FINAL:
            raise ChainError(f"entry {ref.entry} is not on the ledger {str(self.path)!r}")
        with self._lock, self._file.reading() as connection:
            (entry,) = self._refresh(connection).again(connection, int(ref.entry), int(ref.entry))
            return None if entry.inline is None else _inline(connection, entry)

    def state(self) -> State:
        """Return what all entries amount to, after reading and checking those that are new; a live view."""
        with self._lock:
            if not self._file.exists() and self._read is None:
                return Replay().state
            with self._file.reading() as connection:
                return self._refresh(connection).replay.state

    def head(self) -> LedgerHead:
        """Return the head to hand to others."""
        with self._lock, self._file.reading() as connection:
            return self._refresh(connection).head()

    @staticmethod
    def countersign(head: LedgerHead, key: SigningKey) -> SignedHead:
        """Sign a head that one relies on."""
        return countersign(head, key)

    def verify(self, head: LedgerHead | SignedHead | None = None) -> LedgerReport:
        """Read the whole file again and check everything; raises ChainError that names what is wrong."""
        expected = _checked(head) if isinstance(head, SignedHead) else head
        with self._lock, self._file.reading() as connection:
            replayed = ReplayedLedger(ledger_id(connection))
            signers, blobs = set(), 0
            for entry in replayed.extend(connection.execute(SELECT_ALL)):
                signers.add(entry.signer)
                if entry.inline is not None:
                    _inline(connection, entry)
                    blobs += 1
        if expected is not None:
            replayed.compare(expected)
        return LedgerReport(
            head=replayed.head(),
            signers=tuple(sorted(signers)),
            inline_blobs=blobs,
            checked_against=expected,
            countersigned_by=head.signer if isinstance(head, SignedHead) else None,
        )

    def signer(self) -> str:
        """Return the public half of the key that signs new entries."""
        return self._signing_key().public

    def _signing_key(self) -> SigningKey:
        if self._key is None:
            store = KeyStore(self.settings.keys or Workspace.default().keys)
            self._key = store.default() if self.settings.key == DEFAULT_KEY else store.load(self.settings.key)
        return self._key

    def _append(
        self, record: ChainRecord, call: str, inline: bytes | None = None, *, timed: bool = False
    ) -> ChainRef:
        if not call or len(call) > 256 or not call.isprintable():
            raise ConfigError(
                "an idempotency key has 1 to 256 printable characters", hint="use a digest of the request"
            )
        with self._lock:
            key = self._signing_key()
            with self._file.writing() as connection:
                read = self._refresh(connection)
                # Only now nobody else writes, whose entry could be later.
                event = Event(record, key.public, self.time_after(read.replay.state) if timed else 0)
                sequence = _earlier_call(connection, event, call, read.replay.state)
                if sequence is not None:
                    return _ref(sequence)
                change = decide(read.replay.state, event)
                if change.events:
                    address = None if inline is None else cids.of_bytes(inline)
                    entry = Entry.sign(event, key, after=read.head(), inline=address)
                    _insert(connection, entry, inline)
                    sequence = entry.sequence
                else:
                    sequence = read.replay.state.events[event.event_id]
                connection.execute(
                    "INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?)",
                    (key.public, call, event.event_id.hex(), sequence),
                )
            if change.events:
                read.replay.apply(change)
                read.hashes.append(entry.hash)
        return _ref(sequence)

    def _refresh(self, connection: sqlite3.Connection) -> ReplayedLedger:
        """Read and check the entries that came since the last time, and that the last one known is still the same."""
        found = ledger_id(connection)
        if self._read is None:
            self._read = ReplayedLedger(found)
        read = self._read
        if found != read.ledger_id:
            raise ChainError(
                f"another ledger lies at {str(self.path)!r} now: {found} and not {read.ledger_id}",
                hint="start again if you replaced it yourself",
            )
        if read.hashes:
            read.again(connection, len(read.hashes), len(read.hashes))
        for _ in read.extend(connection.execute(SELECT_BEHIND, (len(read.hashes),))):
            pass
        return read

    def _position(self, cursor: str | None) -> int:
        if cursor is None:
            return 0
        number, _, found = cursor.partition(":")
        sequence = int(number) if _is_sequence(number) else -1
        read = self._read
        if read is not None and 1 <= sequence <= len(read.hashes) and read.hash_at(sequence) == found:
            return sequence
        raise ChainError(
            f"the cursor {cursor[:100]!r} names no entry of the ledger {str(self.path)!r}",
            hint="the ledger was rewritten or cut since, or it is another one",
        )


def _checked(head: SignedHead) -> LedgerHead:
    try:
        return head.check()
    except InvalidProof as error:
        raise ConfigError(f"the head was not countersigned by {head.signer}", hint="ask for it again") from error


def _is_sequence(text: str) -> bool:
    """Say whether a text is a number as `_ref` writes it, and no longer than any entry's."""
    return text.isascii() and text.isdecimal() and len(text) < 19 and not text.startswith("0")


def _ref(sequence: int) -> ChainRef:
    return ChainRef(chain=_CHAIN, entry=str(sequence))


def _event(entry: Entry) -> ChainEvent:
    event = entry.event()
    if isinstance(event.record, Registration):
        kind = "registered" if event.signer == event.record.provider else "proposed"
    else:
        kind = _EVENT_TYPES[event.record.kind]
    return ChainEvent.from_value(
        {
            "ref": _ref(entry.sequence).model_dump(),
            "cursor": f"{entry.sequence}:{entry.hash}",
            "type": kind,
            "signer": entry.signer,
            "record_kind": event.record.kind,
            "record": event.record.model_dump(mode="json"),
            "time": event.time or None,
        }
    )


def _earlier_call(connection: sqlite3.Connection, event: Event, call: str, state: State) -> int | None:
    """Return the entry that this idempotency key gave before; raises Rejected if it was another record."""
    found = connection.execute(
        "SELECT event, sequence FROM calls WHERE signer = ? AND key = ?", (event.signer, call)
    ).fetchone()
    if found is None:
        return None
    if found[0] != event.event_id.hex():
        raise Rejected(
            f"the idempotency key {call!r} was used for another record, in entry {found[1]}",
            hint="use a new key for a new record",
        )
    return state.events.get(event.event_id)


def _insert(connection: sqlite3.Connection, entry: Entry, inline: bytes | None) -> None:
    values = (entry.sequence, entry.previous, entry.kind, entry.record, entry.inline, entry.signer, entry.signature)
    connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    if inline is not None:
        connection.execute("INSERT OR REPLACE INTO inline VALUES (?, ?)", (entry.inline, inline))


def _inline(connection: sqlite3.Connection, entry: Entry) -> bytes:
    row = connection.execute("SELECT data FROM inline WHERE cid = ?", (entry.inline,)).fetchone()
    if row is None or not isinstance(row[0], bytes) or cids.of_bytes(row[0]) != entry.inline:
        raise ChainError(f"the bytes kept with entry {entry.sequence} of the ledger are missing or altered")
    return row[0]
