"""Ways to alter a proof: every one of them must be refused.

Each attack is a name for the report and the altered bytes. They are deterministic, so that a finding can be repeated.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from balance_core.records import Statement

    Attack = tuple[str, bytes]

BN254 = 21888242871839275222246405745257275088548364400416034343698204186575808495617
"""Order of the scalar field of BN254 (EIP-197)."""
GOLDILOCKS = 2**64 - 2**32 + 1
BABY_BEAR = 2**31 - 2**27 + 1
MERSENNE_31 = 2**31 - 1
STARK_252 = 2**251 + 17 * 2**192 + 1
"""The field of Cairo."""
FIELDS = (BN254, GOLDILOCKS, BABY_BEAR, MERSENNE_31, STARK_252)
"""Fields whose order is added to a value of a proof in an encoding that nobody told the kit about."""
OVERSIZE_BYTES = 16 * 2**20
"""How much is added to a proof that is too large."""
_MAX_ATTACKS = 400
_NEXT_DIGIT = bytes.maketrans(b"0123456789abcdef", b"123456789abcdef0")
_MAX_PLACES = 3


def flips(data: bytes, *, count: int, seed: int = 11) -> Iterator[Attack]:
    """Change `count` bytes, one at a time: all of them, or as many at random, always with the first and last.

    A byte that may be a digit is changed to the next digit too, as most changes of a text are noticed early.
    """
    random = np.random.default_rng(seed)
    if len(data) > count:
        inner = random.choice(np.arange(1, len(data) - 1), size=max(count - 2, 0), replace=False)
        places = sorted({0, len(data) - 1, *map(int, inner)})
    else:
        places = list(range(len(data)))
    for place in places:
        mask = int(random.integers(1, 256))
        altered = bytearray(data)
        altered[place] ^= mask
        yield f"byte {place} of {len(data)} xor {mask:#04x}", bytes(altered)
        byte = data[place : place + 1]
        digit = byte.translate(_NEXT_DIGIT)
        if digit != byte:
            yield f"byte {place} of {len(data)} from {byte!r} to {digit!r}", data[:place] + digit + data[place + 1 :]


def lengths(data: bytes) -> Iterator[Attack]:
    """Cut the proof short and make it longer."""
    for keep in sorted({len(data) - 1, len(data) - 32, len(data) // 2, 32, 1} & set(range(1, len(data)))):
        yield f"cut to {keep} of {len(data)} bytes", data[:keep]
        yield f"cut to the last {keep} of {len(data)} bytes", data[-keep:]
    for name, tail in (
        ("a zero byte", b"\0"),
        ("a space", b" "),
        ("a line end", b"\n"),
        ("32 zero bytes", bytes(32)),
    ):
        yield f"{name} added", data + tail
        yield f"{name} put in front", tail + data
    yield "the proof twice", data + data


def oversized(data: bytes) -> Iterator[Attack]:
    """Make the proof so large that reading it all would hurt."""
    yield "16 MiB of zero bytes added", data + bytes(OVERSIZE_BYTES)
    yield "16 MiB of zero bytes", bytes(OVERSIZE_BYTES)
    yield "a million brackets", b"[" * 1_000_000
    yield "an integer of four million digits", b"1" * 4_000_000


def garbage(data: bytes, *, seed: int = 13) -> Iterator[Attack]:
    """Give what is no proof at all, and what looks like one from afar."""
    random = np.random.default_rng(seed)
    for size in (1, 32, len(data)):
        yield f"{size} random bytes", random.bytes(size)
    yield "zero bytes of the proof's length", bytes(len(data))
    yield "0xff bytes of the proof's length", b"\xff" * len(data)
    yield "the proof backwards", data[::-1]
    for text in ("null", "true", "0", "[]", "{}", '""', "[[[]]]", '{"proof":[]}', "NaN", "\ufeff{}"):
        yield f"the text {text!r}", text.encode()
    parsed = _json(data)
    if parsed is not None:
        for word, leaf in (("zero", 0), ("minus one", -1), ("empty texts", ""), ("null", None)):
            yield f"the same JSON with {word} for every leaf", _dump(_with_leaves(parsed, leaf))


def structures(data: bytes) -> Iterator[Attack]:
    """Take away, repeat, empty or retype every field of a JSON proof; a binary one is cut into words of 32 bytes."""
    parsed = _json(data)
    if parsed is None:
        yield from _words(data)
        return
    for count, (path, value) in enumerate(_fields(parsed)):
        if count >= _MAX_ATTACKS:
            return
        name = ".".join(map(str, path)) or "the whole"
        for change, replacement in _replacements(value):
            if replacement != value or type(replacement) is not type(value):
                yield f"{name}: {change}", _dump(_replaced(parsed, path, replacement))
        if path:
            yield f"{name}: taken away", _dump(_without(parsed, path))
    if isinstance(parsed, dict) and parsed:
        first = next(iter(parsed))
        yield "a field nobody knows", _dump({**parsed, "extra": 1})
        yield "a field twice", b"{" + _dump(first) + b":0," + data.strip()[1:]


def recounted(data: bytes) -> Iterator[Attack]:
    """Take an item from each list of a JSON proof, or add one; or take and repeat words of a binary one."""
    binary = _json(data) is None
    endings = ("taken away", "twice") if binary else ("one item fewer", "one item more")
    return ((name, altered) for name, altered in structures(data) if name.endswith(endings))


def _words(data: bytes, size: int = 32) -> Iterator[Attack]:
    for start in range(0, min(len(data), _MAX_ATTACKS * size), size):
        end = start + size
        yield f"bytes {start} to {end} taken away", data[:start] + data[end:]
        yield f"bytes {start} to {end} twice", data[:end] + data[start:]
        if data[start:end].strip(b"\0"):
            yield f"bytes {start} to {end} zero", data[:start] + bytes(len(data[start:end])) + data[end:]
        swapped = data[:start] + data[end : end + size] + data[start:end] + data[end + size :]
        if swapped != data:
            yield f"bytes {start} to {end} behind the next", swapped


def changed_values(data: bytes, statements: Sequence[Statement]) -> Iterator[Attack]:
    """Find the public values in the proof, in whatever usual encoding, and change each one a little.

    For a proof whose encoding nobody described: each value by one up and down, and by the order of the usual fields.
    """
    for count, (value, place, old, encode) in enumerate(_places(data, statements)):
        if count >= _MAX_ATTACKS:
            return
        for change in (1, -1, *FIELDS):
            new = encode(value + change)
            if new is not None and new != old:
                name = f"value {value} at byte {place} {change:+d}"
                yield name, data[:place] + new + data[place + len(old) :]
    for statement in statements:
        context = bytes.fromhex(statement.context)
        for form in (context, context.hex().encode(), context[::-1]):
            place = data.find(form)
            if place >= 0 and any(form):
                last = form[-1:].translate(_NEXT_DIGIT)
                new = last if last != form[-1:] else bytes([form[-1] ^ 1])
                yield f"context at byte {place}", data[: place + len(form) - 1] + new + data[place + len(form) :]


def permuted_values(data: bytes, statements: Sequence[Statement]) -> Iterator[Attack]:
    """Swap public values that the proof shows, in whatever usual encoding, with the next different one."""
    found = sorted({(place, old) for _, place, old, _ in _places(data, statements)})
    for (first, one), (second, two) in pairwise(found):
        if one != two and first + len(one) <= second:
            yield (
                f"the values at bytes {first} and {second} swapped",
                data[:first] + two + data[first + len(one) : second] + one + data[second + len(two) :],
            )


def _places(data: bytes, statements: Sequence[Statement]) -> Iterator[tuple[int, int, bytes, Any]]:
    """Yield each public value, where it stands, its bytes there, and how another value would be written."""
    tensors = [tensor for statement in statements for tensor in (*statement.inputs, *statement.outputs)]
    values = dict.fromkeys(value for tensor in tensors for value in getattr(tensor, "integers", ()))
    for value in values:
        for encode in _encodings():
            form = encode(value)
            # A short or empty form is everywhere, and says nothing.
            if form is None or (len(form) < 4 and encode is not _decimal) or not form.strip(b"\0"):
                continue
            pattern = rb"(?<![\d-])" + form + rb"(?!\d)" if encode is _decimal else re.escape(form)
            for count, match in enumerate(re.finditer(pattern, data)):
                if count >= _MAX_PLACES:
                    break
                yield value, match.start(), form, encode


def _decimal(value: int) -> bytes | None:
    return b"%d" % value


def _encodings() -> Iterator[Any]:
    yield _decimal
    for order in ("little", "big"):
        for size in (4, 8):
            yield _fixed(order, size, None, as_hex=False)
        for field in (BN254, STARK_252):
            for as_hex in (False, True):
                yield _fixed(order, 32, field, as_hex=as_hex)


def _fixed(order: Any, size: int, field: int | None, *, as_hex: bool) -> Any:
    def encode(value: int) -> bytes | None:
        number = value + field if field is not None and value < 0 else value
        try:
            form = number.to_bytes(size, order, signed=number < 0)
        except OverflowError:
            return None
        return form.hex().encode() if as_hex else form

    return encode


def _json(data: bytes) -> Any:
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, (dict, list)) else None


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _fields(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield every place of a JSON value, breadth not depth first, with at most eight places of a list."""
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _fields(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:8]):
            yield from _fields(item, (*path, index))


def _replacements(value: Any) -> Iterator[tuple[str, Any]]:
    yield "null", None
    yield "a list", []
    yield "an object", {}
    yield "true", True
    yield "a text", "x"
    yield "a large number", 10**30
    yield "a fraction", 0.5
    if isinstance(value, list) and value:
        yield "one item fewer", value[:-1]
        yield "one item more", [*value, value[-1]]
        yield "backwards", value[::-1]
    if isinstance(value, str) and value:
        yield "shorter", value[:-1]
        yield "longer", value + value[-1]
    if isinstance(value, int):
        yield "one more", value + 1


def _replaced(value: Any, path: tuple[str | int, ...], replacement: Any) -> Any:
    if not path:
        return replacement
    copy = value.copy()
    copy[path[0]] = _replaced(value[path[0]], path[1:], replacement)
    return copy


def _without(value: Any, path: tuple[str | int, ...]) -> Any:
    copy = value.copy()
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = _without(value[path[0]], path[1:])
    return copy


def _with_leaves(value: Any, leaf: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_leaves(item, leaf) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_leaves(item, leaf) for item in value]
    return leaf
