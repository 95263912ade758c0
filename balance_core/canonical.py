"""Canonical JSON and domain-separated digests: one encoding for each value, one meaning for each digest."""

from __future__ import annotations

import hashlib
import json
import re
from itertools import accumulate
from typing import Any

import rfc8785

from balance_core.errors import ConfigError

MAX_EXACT_INT = 2**53
"""Integers of this size and more are written as strings: RFC 8785 numbers are IEEE doubles."""
MAX_NESTING = 200
"""Levels of arrays and objects that a text may have; no record of ours has ten."""
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def encode(value: Any) -> bytes:
    """Return the RFC 8785 form of a JSON value, with integers of 2^53 and more as decimal strings.

    Raises ConfigError for what has none: infinities, lone surrogates, too deep a nesting.
    """
    try:
        portable = _portable(value, 0)
        if _plain(portable):
            return _ENCODER.encode(portable).encode()
        return rfc8785.dumps(portable)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"a value has no canonical JSON form: {error}") from error


_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":"))
"""Writes the RFC 8785 form of `_plain` values, in C: the same escapes, and for such keys the same order."""


def _plain(value: Any) -> bool:
    """Whether a value holds nothing that RFC 8785 writes in a way of its own: fractions, keys beyond ASCII."""
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and key.isascii() for key in value) and all(map(_plain, value.values()))
    if kind is list:
        return set(map(type, value)) <= _ATOMS or all(map(_plain, value))
    return kind in _ATOMS


_ATOMS = {str, int, bool, type(None)}


def _portable(value: Any, depth: int) -> Any:
    if depth > MAX_NESTING:
        raise ValueError(f"it is nested more than {MAX_NESTING} levels deep")
    if isinstance(value, dict):
        return {key: _portable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        if set(map(type, value)) == {int} and max(value) < MAX_EXACT_INT and min(value) > -MAX_EXACT_INT:
            return list(value)
        return [_portable(item, depth + 1) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= MAX_EXACT_INT:
        return str(value)
    return value


def decode(data: bytes, *, max_size: int, what: str = "JSON") -> Any:
    """Parse JSON from an untrusted source.

    Raises ConfigError for more than `max_size` bytes, duplicate keys, NaN or Infinity, text that is not UTF-8,
    too deep a nesting, and anything else that is not JSON.
    """
    if len(data) > max_size:
        raise ConfigError(f"{what} has {len(data)} bytes, more than the {max_size} allowed")

    if _nesting(data) > MAX_NESTING:
        raise ConfigError(f"{what} is not valid: it is nested more than {MAX_NESTING} levels deep")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ConfigError(f"{what} holds a duplicate key")
        return result

    def no_constant(text: str) -> Any:
        raise ConfigError(f"{what} holds {text}, which is no JSON number")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{what} is not valid: {error}") from error


def _nesting(data: bytes) -> int:
    """Return how deep a JSON text is nested at most, as far as a parser would follow it.

    Libraries that lift the interpreter's limit of recursion would else let a stranger's text end the process.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_NESTING:
        return 0
    brackets = _STRING.sub(b"", data).translate(None, _NO_BRACKETS)
    return max(accumulate(1 if byte in b"[{" else -1 for byte in brackets), default=0)


def digest(domain: str, *parts: bytes) -> str:
    """Return the SHA-256 of the parts under a domain, as 64 hex digits.

    The domain and every part are prefixed by their length, so that no two lists of parts collide.
    """
    state = hashlib.sha256()
    for part in (b"balance", domain.encode(), *parts):
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.hexdigest()
