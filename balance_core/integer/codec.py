"""Bytes of the canonical encoding: minimal LEB128 integers, and a reader that trusts nothing.

Unsigned integers are little-endian base 128 with the high bit as continuation, in the fewest bytes. Signed ones are
zigzag coded first (0, -1, 1, -2 become 0, 1, 2, 3). Lists and strings are preceded by their length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_INTEGER_BYTES = 64
"""Longest encoding of one integer."""
MAX_WORD_BYTES = 10
"""Longest encoding of an integer of 64 bits."""


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

    def array(self, values: np.ndarray) -> None:
        """Append a list of signed integers of up to 64 bits, held in an array."""
        flat = np.ascontiguousarray(values, dtype=np.int64).reshape(-1)
        self.uint(flat.size)
        coded = ((flat << 1) ^ (flat >> 63)).view(np.uint64)
        lengths = np.ones(flat.size, dtype=np.int64)
        for group in range(1, MAX_WORD_BYTES):
            lengths += coded >= np.uint64(1 << (7 * group))
        starts = np.cumsum(lengths) - lengths
        data = np.zeros(int(lengths.sum()), dtype=np.uint8)
        for group in range(int(lengths.max(initial=0))):
            here = lengths > group
            bits = (coded[here] >> np.uint64(7 * group)) & np.uint64(0x7F)
            data[starts[here] + group] = bits | np.where(lengths[here] > group + 1, 0x80, 0).astype(np.uint64)
        self._buffer += data.tobytes()

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

    def __init__(self, data: bytes | memoryview, what: str) -> None:
        self._data = memoryview(data)
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

    def array(self, limit: int) -> np.ndarray:
        """Take a list of at most `limit` signed integers of up to 64 bits, as an array."""
        count = self.count(limit)
        data = np.frombuffer(self._data[self._at : self._at + MAX_WORD_BYTES * count], dtype=np.uint8)
        ends = np.flatnonzero(data < 0x80)[:count]
        if ends.size < count:
            raise self.fail("the data ends in the middle of a list")
        starts = np.concatenate([[0], ends[:-1] + 1]) if count else ends
        lengths = ends - starts + 1
        if count and int(lengths.max()) > MAX_WORD_BYTES:
            raise self.fail("an integer of a list is too long")
        if ((data[ends] == 0) & (lengths > 1)).any() or (data[ends[lengths == MAX_WORD_BYTES]] > 1).any():
            raise self.fail("an integer of a list is not in its shortest form")
        coded = np.zeros(count, dtype=np.uint64)
        for group in range(int(lengths.max(initial=0))):
            here = lengths > group
            coded[here] |= (data[starts[here] + group] & 0x7F).astype(np.uint64) << np.uint64(7 * group)
        self._at += int(ends[-1]) + 1 if count else 0
        return (coded >> np.uint64(1)).view(np.int64) ^ -(coded & np.uint64(1)).view(np.int64)

    def blob(self, limit: int) -> memoryview:
        """Take at most `limit` bytes, without copying them."""
        count = self.count(limit)
        self._at += count
        return self._data[self._at - count : self._at]

    def text(self, limit: int) -> str:
        """Take a string of at most `limit` bytes of UTF-8."""
        try:
            return str(self.blob(limit), "utf-8")
        except UnicodeDecodeError:
            raise self.fail("a text is not UTF-8") from None

    def end(self) -> None:
        """Raise unless everything was read."""
        if self.left:
            raise self.fail(f"{self.left} bytes follow the end")
