"""What a consumer keeps: receipts, and which registrations it relies on, in files that only grow.

Each line is an entry in canonical JSON that names the digest of the line before, so that a line that was damaged,
moved or removed is found when the file is read. What a killed process wrote by half is dropped by the next append.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

from balance_core import canonical
from balance_core.builtin.ledger_entry import SignedHead
from balance_core.chain import Voucher
from balance_core.errors import ConfigError, InvalidProof
from balance_core.files import locked
from balance_core.records import Digest, Label, Name, Record, Registration
from balance_core.service.receipts import SignedReceipt, check_receipt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

MAX_LINE_BYTES = 2**26
"""Longest line that is read."""
_START = canonical.digest("book/1")


class Pin(Record):
    """The registration that a consumer relies on at an address, as a chain had it under a head."""

    kind: ClassVar[str] = "pin"
    address: Label
    """The provider's URL and the model's name."""
    registration: Registration
    voucher: Voucher | None = None
    head: SignedHead | None = None


class BookEntry(Record):
    """One line."""

    kind: ClassVar[str] = "book-entry"
    previous: Digest
    record_kind: Name
    record: dict[str, Any]


Kept = Pin | SignedReceipt
_KINDS: dict[str, type[Pin | SignedReceipt]] = {Pin.kind: Pin, SignedReceipt.kind: SignedReceipt}


class Book:
    """A file of receipts or pins; any number of processes may append to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self, *records: Kept) -> None:
        """Append; the records are on the disk when this returns."""
        if not records:
            return
        with locked(self.path.with_name(f".{self.path.name}.lock")):
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "r+b") as stream:
                previous = _last(stream, self.path)
                lines = []
                for record in records:
                    entry = BookEntry(
                        previous=previous, record_kind=record.kind, record=record.model_dump(mode="json")
                    )
                    lines.append(entry.to_json() + b"\n")
                    previous = entry.digest
                stream.write(b"".join(lines))
                stream.flush()
                os.fsync(stream.fileno())

    def records(self) -> Iterator[Kept]:
        """Yield all records, oldest first; raises ConfigError at the first line that is not what was written."""
        previous = _START
        try:
            stream = self.path.open("rb")
        except FileNotFoundError:
            return
        with stream:
            number = 0
            while line := stream.readline(MAX_LINE_BYTES):
                number += 1
                if not line.endswith(b"\n"):
                    return  # by half: its writer was killed, or still writes
                entry, record = self._entry(line[:-1], number)
                if entry.previous != previous:
                    raise self._damaged(number, "it does not follow the line before")
                previous = entry.digest
                yield record

    def receipts(self) -> Iterator[SignedReceipt]:
        """Yield the receipts."""
        return (record for record in self.records() if isinstance(record, SignedReceipt))

    def pin(self, address: str) -> Pin | None:
        """Return the newest pin for an address."""
        found = [record for record in self.records() if isinstance(record, Pin) and record.address == address]
        return found[-1] if found else None

    def _entry(self, line: bytes, number: int) -> tuple[BookEntry, Kept]:
        try:
            entry = BookEntry.from_json(line, max_size=MAX_LINE_BYTES)
            record = _kind(entry.record_kind).from_value(entry.record)
            if isinstance(record, SignedReceipt):
                check_receipt(record, record.receipt.provider)
        except (ConfigError, InvalidProof) as error:
            raise self._damaged(number, error.message) from error
        return entry, record

    def _damaged(self, number: int, reason: str) -> ConfigError:
        return ConfigError(
            f"line {number} of {str(self.path)!r} was altered or damaged: {reason}", hint="restore it from a copy"
        )


def _kind(name: str) -> type[Pin | SignedReceipt]:
    if name not in _KINDS:
        raise ConfigError(f"a {name} is not kept here")
    return _KINDS[name]


def _last(stream: BinaryIO, path: Path) -> str:
    """Return the digest of the last whole line and leave the stream behind it; what follows is dropped."""
    size = stream.seek(0, os.SEEK_END)
    window = 2**16
    while True:
        start = max(0, size - window)
        stream.seek(start)
        data = stream.read(size - start)
        end = data.rfind(b"\n")
        begin = data.rfind(b"\n", 0, end) if end > 0 else -1
        if start == 0 or begin >= 0:
            break
        window *= 8
    stream.seek(start + end + 1)
    stream.truncate()
    if end < 0:
        return _START
    try:
        return BookEntry.from_json(data[begin + 1 : end], max_size=MAX_LINE_BYTES).digest
    except ConfigError as error:
        raise ConfigError(
            f"the last line of {str(path)!r} was altered or damaged: {error.message}", hint="restore it from a copy"
        ) from error
