"""Content addresses of all forms that files on IPFS have: CIDv0 and v1, in any usual base, always over SHA-256.

Sources: CID, multibase, multicodec and multihash (multiformats).
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

RAW = 0x55
DAG_PB = 0x70
_SHA2_256 = 0x12
_IDENTITY = 0x00
_DIGEST_BYTES = 32
_MAX_TEXT = 128
_CODECS = {RAW: "raw", DAG_PB: "dag-pb", 0x71: "dag-cbor", 0x72: "libp2p-key", 0x0129: "dag-json", 0x0202: "car"}
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return an unsigned varint and the position behind it; raises ValueError for a cut, overlong or padded one."""
    number = shift = 0
    for position in range(at, min(at + 9, len(data))):
        byte = data[position]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise ValueError("a number is written longer than needed")
            return number, position + 1
        shift += 7
    raise ValueError("a number does not end")


def write_varint(number: int) -> bytes:
    """Return the shortest unsigned varint."""
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


@dataclass(frozen=True)
class Address:
    """The address of one block: of raw bytes, or of a dag-pb node."""

    version: int
    codec: int
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address as people write it; raises ConfigError that says what is wrong with it."""
        short = repr(text[:80])
        if not 0 < len(text) <= _MAX_TEXT or not text.isascii():
            raise ConfigError(f"{short} is not a content address", hint="it starts with 'bafy', 'bafk' or 'Qm'")
        try:
            binary = _base58(text) if text.startswith("Qm") else _of_multibase(text)
            found, end = cls.read(binary)
        except ValueError as error:
            raise ConfigError(
                f"{short} is not the content address of a file: {error}", hint="it starts with 'bafy', 'bafk' or 'Qm'"
            ) from error
        if end != len(binary) or (found.version == 0) != text.startswith("Qm"):
            raise ConfigError(f"{short} is a content address with something behind it", hint="copy it once more")
        return found

    @classmethod
    def read(cls, data: bytes, at: int = 0) -> tuple[Self, int]:
        """Read a binary address and return it with the position behind it; raises ValueError."""
        if data[at : at + 2] == b"\x12\x20":
            version, codec = 0, DAG_PB
        else:
            version, at = read_varint(data, at)
            if version != 1:
                raise ValueError(f"CIDs of version {version} are unknown")
            codec, at = read_varint(data, at)
        function, at = read_varint(data, at)
        if function == _IDENTITY:
            raise ValueError("it holds its content in place of a hash (identity), and nothing is checked by that")
        size, at = read_varint(data, at)
        if function != _SHA2_256 or size != _DIGEST_BYTES:
            raise ValueError(f"only SHA-256 is known, not hash function 0x{function:x} of {size} bytes")
        if codec not in (RAW, DAG_PB):
            raise ValueError(f"files are raw or dag-pb, not {_CODECS.get(codec, hex(codec))}")
        digest = data[at : at + _DIGEST_BYTES]
        if len(digest) != _DIGEST_BYTES:
            raise ValueError("it is cut off")
        return cls(version, codec, bytes(digest)), at + _DIGEST_BYTES

    @property
    def binary(self) -> bytes:
        """The address as blocks and archives hold it."""
        head = bytes((1, self.codec)) if self.version else b""
        return head + bytes((_SHA2_256, _DIGEST_BYTES)) + self.digest

    def __str__(self) -> str:
        if self.version:
            return "b" + base64.b32encode(self.binary).decode().lower().rstrip("=")
        return _digits(self.binary, _BASE58)

    def fits(self, block: bytes) -> bool:
        """Say whether a block is the one that the address stands for."""
        return hashlib.sha256(block).digest() == self.digest

    def same_block(self, other: Address) -> bool:
        """Say whether both stand for the same block, whatever their versions."""
        return (self.codec, self.digest) == (other.codec, other.digest)


def _digits(data: bytes, alphabet: str) -> str:
    """Write bytes, the first of which is not zero, as a number in another base."""
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, len(alphabet))
        text = alphabet[digit] + text
    return text


def _number(text: str, alphabet: str) -> bytes:
    """Read a number in another base; leading zeros, which no address has, are refused."""
    number = 0
    for letter in text:
        digit = alphabet.find(letter)
        if digit < 0:
            raise ValueError(f"{letter!r} does not belong there")
        number = number * len(alphabet) + digit
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    if text[:1] == alphabet[0] or not data:
        raise ValueError("it is no number")
    return data


def _base58(text: str) -> bytes:
    return _number(text, _BASE58)


def _padded(decode: Callable[[str], bytes], encode: Callable[[bytes], bytes], text: str, block: int) -> bytes:
    """Decode an unpadded text whose last letter carries no stray bits."""
    data = decode(text + "=" * (-len(text) % block))
    if encode(data).decode().rstrip("=") != text:
        raise ValueError("it does not end as it should")
    return data


def _base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _base64_url(text: str) -> bytes:
    return base64.b64decode(text, altchars=b"-_", validate=True)


_BASES: dict[str, Callable[[str], bytes]] = {
    "b": lambda text: _padded(base64.b32decode, base64.b32encode, _upper(text), 8),
    "B": lambda text: _padded(base64.b32decode, base64.b32encode, text, 8),
    "f": lambda text: _padded(base64.b16decode, base64.b16encode, _upper(text), 2),
    "F": lambda text: _padded(base64.b16decode, base64.b16encode, text, 2),
    "k": lambda text: _number(text, _BASE36),
    "K": lambda text: _number(_lower(text), _BASE36),
    "m": lambda text: _padded(_base64, base64.b64encode, text, 4),
    "u": lambda text: _padded(_base64_url, base64.urlsafe_b64encode, text, 4),
    "z": _base58,
}
"""The bases of multibase that addresses are written in, by their first letter."""


def _upper(text: str) -> str:
    if text != text.lower():
        raise ValueError("it mixes large and small letters")
    return text.upper()


def _lower(text: str) -> str:
    if text != text.upper():
        raise ValueError("it mixes large and small letters")
    return text.lower()


def _of_multibase(text: str) -> bytes:
    decode = _BASES.get(text[0])
    if decode is None:
        raise ValueError(f"no base of addresses is called {text[0]!r}")
    return decode(text[1:])
