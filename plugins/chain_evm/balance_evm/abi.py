"""Calls, events and errors of a contract, by its interface (ABI): bytes to named values and back."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from balance_core.errors import ChainError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WORD = 32


def _type(described: Mapping[str, Any]) -> str:
    """Return the type as encoders write it: a struct as the tuple of its parts."""
    name = str(described["type"])
    if not name.startswith("tuple"):
        return name
    return f"({','.join(map(_type, described['components']))}){name.removeprefix('tuple')}"


def signature(described: Mapping[str, Any]) -> str:
    """Return a function's, event's or error's name with its types, which is what is hashed."""
    return f"{described['name']}({','.join(map(_type, described['inputs']))})"


def _named(described: Mapping[str, Any], value: Any) -> Any:
    """Give the parts of structs their names."""
    name = str(described["type"])
    if not name.startswith("tuple"):
        return value
    if name.endswith("]"):
        inner = {**described, "type": name[: name.rindex("[")]}
        return [_named(inner, one) for one in value]
    return _fields(described["components"], value)


def _fields(described: Sequence[Mapping[str, Any]], values: Sequence[Any]) -> dict[str, Any]:
    return {str(one["name"]): _named(one, value) for one, value in zip(described, values, strict=True)}


class Interface:
    """What a contract understands."""

    def __init__(self, abi: Sequence[Mapping[str, Any]]) -> None:
        self.functions = {str(one["name"]): one for one in abi if one["type"] == "function"}
        self._events = [one for one in abi if one["type"] == "event"]
        self._errors = [one for one in abi if one["type"] == "error"]
        self.constructor: Mapping[str, Any] = next(
            (one for one in abi if one["type"] == "constructor"), {"inputs": []}
        )

    @cached_property
    def _events_by_topic(self) -> dict[bytes, Mapping[str, Any]]:
        return {_keccak(signature(one)): one for one in self._events}

    @cached_property
    def _errors_by_selector(self) -> dict[bytes, Mapping[str, Any]]:
        return {_keccak(signature(one))[:4]: one for one in self._errors}

    def call(self, name: str, *values: Any) -> bytes:
        """Return calldata."""
        from eth_abi.abi import encode

        described = self.functions[name]
        return _keccak(signature(described))[:4] + encode([_type(one) for one in described["inputs"]], values)

    def creation(self, code: bytes, *values: Any) -> bytes:
        """Return what creates the contract, with the constructor's arguments behind its code."""
        from eth_abi.abi import encode

        return code + encode([_type(one) for one in self.constructor["inputs"]], values)

    def result(self, name: str, data: bytes) -> Any:
        """Return what a call answered: the value, or a tuple of several; raises ChainError for other bytes."""
        described = self.functions[name]["outputs"]
        values = [_named(one, value) for one, value in zip(described, _decode(described, data), strict=True)]
        return values[0] if len(values) == 1 else tuple(values)

    def event(self, log: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return a log's event with its values by name; None for one that is unknown or of another form."""
        topics = [_bytes(topic) for topic in log["topics"]]
        described = self._events_by_topic.get(topics[0]) if topics else None
        if described is None:
            return None
        indexed = [one for one in described["inputs"] if one["indexed"]]
        plain = [one for one in described["inputs"] if not one["indexed"]]
        try:
            found = dict(zip([one["name"] for one in plain], _decode(plain, _bytes(log["data"])), strict=True))
            for one, topic in zip(indexed, topics[1:], strict=True):
                found |= {one["name"]: _decode([one], topic)[0]}
        except (ChainError, ValueError):
            return None
        return str(described["name"]), _fields(
            described["inputs"], [found[one["name"]] for one in described["inputs"]]
        )

    def error(self, data: bytes) -> tuple[str, dict[str, Any]] | None:
        """Return the error that a call reverted with; None for one that this interface does not know."""
        described = self._errors_by_selector.get(data[:4])
        if described is None:
            return None
        try:
            return str(described["name"]), _fields(described["inputs"], _decode(described["inputs"], data[4:]))
        except ChainError:
            return None


def _decode(described: Sequence[Mapping[str, Any]], data: bytes) -> tuple[Any, ...]:
    from eth_abi.abi import decode
    from eth_abi.exceptions import DecodingError

    try:
        return decode([_type(one) for one in described], data)
    except (DecodingError, OverflowError, UnicodeDecodeError) as error:
        raise ChainError("the node answered with bytes that are not of the contract's interface") from error


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return bytes.fromhex(str(value).removeprefix("0x"))
    except ValueError:
        raise ChainError("the node answered with something that is no hex") from None


def _keccak(text: str) -> bytes:
    from eth_utils.crypto import keccak

    return bytes(keccak(text.encode("ascii")))
