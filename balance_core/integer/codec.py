"""Bytes of the canonical encoding: minimal LEB128 integers, and a reader that trusts nothing.

Unsigned integers are little-endian base 128 with the high bit as continuation, in the fewest bytes. Signed ones are
zigzag coded first (0, -1, 1, -2 become 0, 1, 2, 3). Lists and strings are preceded by their length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_INTEGER_BYTES = 64
"""Longest encoding of one integer."""


class Writer:
    """Appends encoded values to a growing buffer."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def uint(self, value: int) -> None:
        """Append an integer of 0 or more."""
        if value < 0:
            raise ValueError(f"{value} is negative")
        while value >= 0x80:
            self._buffer.append(value & 0x7F | 0x80)
            value >>= 7
        self._buffer.append(value)

    def sint(self, value: int) -> None:
        """Append a signed integer."""
        self.uint(value << 1 if value >= 0 else (-value << 1) - 1)

    def uints(self, values: Iterable[int]) -> None:
        """Append a list of integers of 0 or more."""
        items = tuple(values)
        self.uint(len(items))
        for value in items:
            self.uint(value)

    def sints(self, values: Iterable[int]) -> None:
        """Append a list of signed integers."""
        items = tuple(values)
        self.uint(len(items))
        for value in items:
            self.sint(value)

    def blob(self, data: bytes) -> None:
        """Append bytes, preceded by their number."""
        self.uint(len(data))
        self._buffer += data

    def text(self, value: str) -> None:
        """Append a string as UTF-8."""
        self.blob(value.encode())

    def getvalue(self) -> bytes:
        """Return everything appended so far."""
        return bytes(self._buffer)


class Reader:
    """Takes encoded values from untrusted bytes; raises ConfigError for anything that a Writer would not write."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what

    def fail(self, reason: str) -> ConfigError:
        """Return the error that refuses these bytes, with the position reached."""
        return ConfigError(f"{self._what}: {reason} at byte {self._at}")

    @property
    def left(self) -> int:
        """The number of bytes not yet read."""
        return len(self._data) - self._at

    def uint(self, limit: int | None = None) -> int:
        """Take an integer of 0 or more, at most `limit`."""
        value = 0
        for count in range(MAX_INTEGER_BYTES):
            if self._at >= len(self._data):
                raise self.fail("the data ends in the middle of an integer")
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << (7 * count)
            if byte < 0x80:
                if byte == 0 and count:
                    raise self.fail("an integer is not in its shortest form")
                if limit is not None and value > limit:
                    raise self.fail(f"{value} exceeds the {limit} allowed")
                return value
        raise self.fail("an integer is too long")

    def sint(self) -> int:
        """Take a signed integer."""
        value = self.uint()
        return -((value + 1) >> 1) if value & 1 else value >> 1

    def count(self, limit: int) -> int:
        """Take the length of a list whose items need at least one byte each."""
        count = self.uint(limit)
        if count > self.left:
            raise self.fail(f"{count} items are announced and {self.left} bytes are left")
        return count

    def uints(self, limit: int) -> tuple[int, ...]:
        """Take a list of at most `limit` integers of 0 or more."""
        return tuple([self.uint() for _ in range(self.count(limit))])

    def sints(self, limit: int) -> tuple[int, ...]:
        """Take a list of at most `limit` signed integers."""
        return tuple([self.sint() for _ in range(self.count(limit))])

    def blob(self, limit: int) -> bytes:
        """Take at most `limit` bytes."""
        count = self.count(limit)
        self._at += count
        return self._data[self._at - count : self._at]

    def text(self, limit: int) -> str:
        """Take a string of at most `limit` bytes of UTF-8."""
        try:
            return self.blob(limit).decode()
        except UnicodeDecodeError:
            raise self.fail("a text is not UTF-8") from None

    def end(self) -> None:
        """Raise unless everything was read."""
        if self.left:
            raise self.fail(f"{self.left} bytes follow the end")
