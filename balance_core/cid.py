"""Content addresses: CIDv1 as a real IPFS node computes it, so that content keeps its address wherever it moves.

The profile is fixed: raw leaves of 256 KiB, SHA-256, a balanced tree of at most 174 links a node, base32. Content of
one chunk or less is a single raw block; anything larger is a UnixFS file in dag-pb nodes.

Sources: CID and multihash (multiformats), UnixFS v1 and dag-pb (IPLD), the balanced layout of the IPFS importer.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CHUNK_BYTES = 256 * 1024
"""Bytes of a leaf."""
MAX_LINKS = 174
"""Links of an inner node."""

_RAW = 0x55
_DAG_PB = 0x70
_SHA2_256 = bytes((0x12, 0x20))
_VERSION_1 = 0x01
_UNIXFS_FILE = 2


@dataclass(frozen=True)
class Link:
    """A node of the tree as its parent sees it."""

    cid: bytes
    """Binary CID."""
    total_bytes: int
    """Serialised size of the node and everything below it."""
    content_bytes: int
    """Bytes of file content below the node."""


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _field(number: int, payload: bytes) -> bytes:
    """Return a length-delimited protobuf field."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _number(number: int, value: int) -> bytes:
    """Return a varint protobuf field."""
    return _varint(number << 3) + _varint(value)


def _binary(codec: int, block: bytes) -> bytes:
    return bytes((_VERSION_1, codec)) + _SHA2_256 + hashlib.sha256(block).digest()


def _leaf(chunk: bytes) -> Link:
    return Link(_binary(_RAW, chunk), len(chunk), len(chunk))


def _node(links: list[Link]) -> Link:
    """Build a dag-pb node over its children: links first, then the UnixFS data, as the canonical form has them."""
    content = sum(link.content_bytes for link in links)
    sizes = b"".join(_number(4, link.content_bytes) for link in links)
    unixfs = _number(1, _UNIXFS_FILE) + _number(3, content) + sizes
    encoded_links = b"".join(
        _field(2, _field(1, link.cid) + _field(2, b"") + _number(3, link.total_bytes)) for link in links
    )
    block = encoded_links + _field(1, unixfs)
    return Link(_binary(_DAG_PB, block), len(block) + sum(link.total_bytes for link in links), content)


def _text(binary: bytes) -> str:
    return "b" + base64.b32encode(binary).decode().lower().rstrip("=")


class Hasher:
    """Computes the CID of content that is fed in pieces of any size, in constant memory."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._levels: list[list[Link]] = [[]]

    def update(self, data: bytes | memoryview) -> None:
        """Feed the next bytes of the content."""
        self._pending += data
        while len(self._pending) >= CHUNK_BYTES:
            self._push(0, _leaf(bytes(self._pending[:CHUNK_BYTES])))
            del self._pending[:CHUNK_BYTES]

    def _push(self, level: int, link: Link) -> None:
        """Append a node, closing full parents on the way up; a full level is closed only when more follows."""
        if level == len(self._levels):
            self._levels.append([])
        if len(self._levels[level]) == MAX_LINKS:
            parent = _node(self._levels[level])
            self._levels[level] = []
            self._push(level + 1, parent)
        self._levels[level].append(link)

    def cid(self) -> str:
        """Return the address of everything fed so far; feeding may go on afterwards."""
        levels = [list(level) for level in self._levels]
        if self._pending or not any(levels):
            self._append(levels, 0, _leaf(bytes(self._pending)))
        level = 0
        while level < len(levels) - 1 or len(levels[level]) > 1:
            if levels[level]:
                self._append(levels, level + 1, _node(levels[level]))
            level += 1
        return _text(levels[level][0].cid)

    @staticmethod
    def _append(levels: list[list[Link]], level: int, link: Link) -> None:
        if level == len(levels):
            levels.append([])
        if len(levels[level]) == MAX_LINKS:
            Hasher._append(levels, level + 1, _node(levels[level]))
            levels[level] = []
        levels[level].append(link)


def of_chunks(chunks: Iterable[bytes]) -> str:
    """Return the CID of the concatenation of the chunks."""
    hasher = Hasher()
    for chunk in chunks:
        hasher.update(chunk)
    return hasher.cid()


def of_bytes(data: bytes) -> str:
    """Return the CID of content in memory."""
    return of_chunks((data,))


def of_file(path: Path) -> str:
    """Return the CID of a file's content."""
    with path.open("rb") as stream:
        return of_chunks(chunks_of(stream))


def chunks_of(stream: BinaryIO, size: int = 4 * CHUNK_BYTES) -> Iterator[bytes]:
    """Yield a stream's content in pieces of at most `size` bytes."""
    while chunk := stream.read(size):
        yield chunk


def check(text: str) -> str:
    """Return a CID of this profile unchanged; raises ConfigError for anything else, whatever it might mean."""
    if text.startswith("b") and text == text.lower():
        padded = text[1:].upper() + "=" * (-len(text[1:]) % 8)
        try:
            binary = base64.b32decode(padded)
        except ValueError:
            binary = b""
        known = binary[:1] == b"\x01" and binary[1:2] in (b"\x55", b"\x70") and binary[2:4] == _SHA2_256
        if known and len(binary) == 36 and _text(binary) == text:
            return text
    raise ConfigError(
        f"{text[:80]!r} is not a content address that Balance uses",
        hint="a CIDv1 in base32 over SHA-256 starts with 'bafkrei' or 'bafybei'",
    )
