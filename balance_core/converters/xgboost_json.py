"""XGBoost's own model files as plain values: JSON, and UBJSON (Universal Binary JSON, draft 12)."""

from __future__ import annotations

from typing import Any

import numpy as np

from balance_core import canonical
from balance_core.errors import ConfigError

MAX_BYTES = 2**28
"""Largest model file."""
MAX_DEPTH = 32
MAX_VALUES = 2**22
"""Most values of a UBJSON file, those of typed arrays not counted: they are no larger in memory than in the file."""
_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}


def decode(data: bytes, name: str) -> Any:
    """Return the values of a file in whichever of the two formats it is; raises ConfigError."""
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{name} has {len(data)} bytes, more than the {MAX_BYTES} of the largest model taken")
    if data[:2] == b"{L" or data[:3] in {b"{i\x07", b"{U\x07"}:
        return _Reader(data, name).document()
    return canonical.decode(data, max_size=MAX_BYTES, what=name)


class _Reader:
    """Reads one UBJSON value; it believes no count that the bytes behind it do not bear out."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self.at = 0
        self.values = 0

    def document(self) -> Any:
        """Read the one value of the file."""
        value = self._value(self._marker(), 0)
        if self.at != len(self.data):
            raise self._wrong("bytes follow the end")
        return value

    def _wrong(self, what: str) -> ConfigError:
        return ConfigError(f"{self.name} is not valid UBJSON: {what}, at byte {self.at}")

    def _take(self, count: int) -> bytes:
        if count < 0 or count > len(self.data) - self.at:
            raise self._wrong("it is cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def _marker(self) -> str:
        marker = self._take(1)
        while marker == b"N":  # a no-op
            marker = self._take(1)
        return marker.decode("latin-1")

    def _number(self, marker: str) -> int | float:
        kind = np.dtype(_NUMBERS[marker])
        found: int | float = np.frombuffer(self._take(kind.itemsize), dtype=kind)[0].item()
        return found

    def _count(self) -> int:
        marker = self._marker()
        if marker not in "iUIlL":
            raise self._wrong("a length is no integer")
        return int(self._number(marker))

    def _text(self) -> str:
        try:
            return self._take(self._count()).decode("utf-8")
        except UnicodeDecodeError:
            raise self._wrong("a text is not UTF-8") from None

    def _value(self, marker: str, depth: int) -> Any:
        self.values += 1
        if depth > MAX_DEPTH or self.values > MAX_VALUES:
            raise self._wrong(f"it is nested deeper than {MAX_DEPTH}, or holds more than {MAX_VALUES} values")
        if marker in _NUMBERS:
            return self._number(marker)
        if marker in "TFZ":
            return {"T": True, "F": False, "Z": None}[marker]
        match marker:
            case "S":
                return self._text()
            case "[":
                return self._array(depth)
            case "{":
                return self._object(depth)
        raise self._wrong(f"it holds a value of the type {marker!r}, which XGBoost does not write")

    def _peek(self) -> str:
        return self.data[self.at : self.at + 1].decode("latin-1")

    def _array(self, depth: int) -> list[Any]:
        kind = None
        if self._peek() == "$":
            self.at += 1
            kind = self._marker()
            if kind not in _NUMBERS or self._peek() != "#":
                raise self._wrong("a typed array is not of numbers, or has no length")
        if self._peek() == "#":
            self.at += 1
            count = self._count()
            if kind is not None:
                dtype = np.dtype(_NUMBERS[kind])
                found: list[Any] = np.frombuffer(self._take(count * dtype.itemsize), dtype=dtype).tolist()
                return found
            if not 0 <= count <= len(self.data) - self.at:
                raise self._wrong("it is cut short")
            return [self._value(self._marker(), depth + 1) for _ in range(count)]
        items = []
        while (marker := self._marker()) != "]":
            items.append(self._value(marker, depth + 1))
        return items

    def _object(self, depth: int) -> dict[str, Any]:
        if self._peek() in "$#":
            raise self._wrong("an object has a length, which XGBoost does not write")
        found: dict[str, Any] = {}
        while self._peek() != "}":
            key = self._text()
            if key in found:
                raise self._wrong(f"the key {key[:40]!r} stands twice")
            found[key] = self._value(self._marker(), depth + 1)
        self.at += 1
        return found
