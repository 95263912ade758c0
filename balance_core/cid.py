"""Content addresses: CIDv1 as a real IPFS node computes it, so that content keeps its address wherever it moves.

The profile is fixed: raw leaves of 256 KiB, SHA-256, a balanced tree of at most 174 links a node, base32. Content of
one chunk or less is a single raw block; anything larger is a UnixFS file in dag-pb nodes. The layouts that others use
are computed too, for what has to be compared with them; Balance's own content is never addressed by one of these.

Sources: CID and multihash (multiformats), UnixFS v1 and dag-pb (IPLD), the balanced layout of the IPFS importer.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
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
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True)
class Layout:
    """How content is cut into blocks, linked and addressed; each layout gives the same content another address."""

    chunk_bytes: int = CHUNK_BYTES
    max_links: int = MAX_LINKS
    raw_leaves: bool = True
    """Whether a leaf is the bare chunk; otherwise it is a UnixFS file in a dag-pb node of its own."""
    version: int = 1
    """Of the CIDs; in version 0 there are no raw leaves."""

    def __post_init__(self) -> None:
        if self.version not in (0, 1) or (self.version == 0 and self.raw_leaves):
            raise ConfigError("CIDs have version 0 or 1, and those of version 0 no raw leaves")
        if self.chunk_bytes < 1 or self.max_links < 2:
            raise ConfigError("a chunk has at least one byte, and a node at least two links")

    def address(self, codec: int, block: bytes) -> bytes:
        """Return a block's binary CID."""
        head = bytes((_VERSION_1, codec)) if self.version else b""
        return head + _SHA2_256 + hashlib.sha256(block).digest()


BALANCE = Layout()
"""The profile of Balance."""


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


def _wrapped_leaf(chunk: bytes) -> bytes:
    """Build a leaf that is a dag-pb node; an empty one has no data field."""
    data = _field(2, chunk) if chunk else b""
    return _field(1, _number(1, _UNIXFS_FILE) + data + _number(3, len(chunk)))


def _node(links: list[Link]) -> bytes:
    """Build a dag-pb node over its children: links first, then the UnixFS data, as the canonical form has them."""
    content = sum(link.content_bytes for link in links)
    sizes = b"".join(_number(4, link.content_bytes) for link in links)
    unixfs = _number(1, _UNIXFS_FILE) + _number(3, content) + sizes
    encoded_links = b"".join(
        _field(2, _field(1, link.cid) + _field(2, b"") + _number(3, link.total_bytes)) for link in links
    )
    return encoded_links + _field(1, unixfs)


def _text(binary: bytes) -> str:
    """Return a CID as text: base32 in version 1, base58 in version 0, whose first byte is that of SHA-256."""
    if binary[0] == _VERSION_1:
        return "b" + base64.b32encode(binary).decode().lower().rstrip("=")
    number, digits = int.from_bytes(binary, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return digits


class Hasher:
    """Computes the CID of content that is fed in pieces of any size, in constant memory.

    `emit` is called with each block's binary CID and its bytes, children before their parents; the blocks at the
    right edge of the tree are known, and emitted, only when the address is asked for.
    """

    def __init__(self, layout: Layout = BALANCE, emit: Callable[[bytes, bytes], object] | None = None) -> None:
        self._layout = layout
        self._emit = emit
        self._pending = bytearray()
        self._levels: list[list[Link]] = [[]]

    def update(self, data: bytes | memoryview) -> None:
        """Feed the next bytes of the content."""
        size = self._layout.chunk_bytes
        self._pending += data
        while len(self._pending) >= size:
            self._append(self._levels, 0, self._leaf(bytes(self._pending[:size])))
            del self._pending[:size]

    def cid(self) -> str:
        """Return the address of everything fed so far; feeding may go on afterwards."""
        levels = [list(level) for level in self._levels]
        if self._pending or not any(levels):
            self._append(levels, 0, self._leaf(bytes(self._pending)))
        level = 0
        while level < len(levels) - 1 or len(levels[level]) > 1:
            if levels[level]:
                self._append(levels, level + 1, self._parent(levels[level]))
            level += 1
        return _text(levels[level][0].cid)

    def _append(self, levels: list[list[Link]], level: int, link: Link) -> None:
        """Append a node, closing full parents on the way up; a full level is closed only when more follows."""
        if level == len(levels):
            levels.append([])
        if len(levels[level]) == self._layout.max_links:
            parent = self._parent(levels[level])
            levels[level] = []
            self._append(levels, level + 1, parent)
        levels[level].append(link)

    def _leaf(self, chunk: bytes) -> Link:
        if self._layout.raw_leaves:
            return self._link(_RAW, chunk, 0, len(chunk))
        return self._link(_DAG_PB, _wrapped_leaf(chunk), 0, len(chunk))

    def _parent(self, links: list[Link]) -> Link:
        below = sum(link.total_bytes for link in links)
        return self._link(_DAG_PB, _node(links), below, sum(link.content_bytes for link in links))

    def _link(self, codec: int, block: bytes, below: int, content: int) -> Link:
        address = self._layout.address(codec, block)
        if self._emit is not None:
            self._emit(address, block)
        return Link(address, len(block) + below, content)


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
