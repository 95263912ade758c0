"""dag-pb nodes and the UnixFS files in them, read strictly: a block is what its author made it, friend or not.

Sources: dag-pb and UnixFS v1 (IPLD).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from balance_core.errors import StorageError
from balance_ipfs.address import RAW, Address, read_varint

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BLOCK_BYTES = 2 * 2**20
"""Largest block: what nodes pass on to each other."""
_KINDS = {0: "raw bytes", 1: "a folder", 2: "a file", 3: "metadata", 4: "a symbolic link", 5: "a large folder"}
_RAW_DATA, _FILE = 0, 2
_VARINT, _BYTES = 0, 2


@dataclass(frozen=True)
class Child:
    """What a node says of one child."""

    address: Address
    size: int
    """Bytes of file content below it."""


@dataclass(frozen=True)
class FileNode:
    """A file, or a part of one: first its own bytes, then those of its children."""

    data: bytes
    children: tuple[Child, ...]

    @property
    def size(self) -> int:
        """Bytes of file content."""
        return len(self.data) + sum(child.size for child in self.children)


def decode(address: Address, block: bytes) -> FileNode:
    """Read a block that fits its address; raises StorageError for what is no part of a file."""
    if address.codec == RAW:
        return FileNode(block, ())
    try:
        return _file_node(block)
    except ValueError as error:
        raise StorageError(
            f"{address} is not a file: {error}", hint="ask for the address of the file itself"
        ) from error


def _file_node(block: bytes) -> FileNode:
    links, unixfs = [], None
    for number, value in _fields(block):
        if number == 2 and isinstance(value, bytes):
            links.append(_link(value))
        elif number == 1 and isinstance(value, bytes) and unixfs is None:
            unixfs = value
        else:
            raise ValueError(f"its node has a field {number} that no node has there")
    if unixfs is None:
        raise ValueError("its node says nothing about itself")
    data, total, sizes = _unixfs(unixfs)
    if len(sizes) != len(links):
        raise ValueError(f"its node has {len(links)} links and {len(sizes)} sizes")
    if links and not all(sizes):
        raise ValueError("it has empty parts")
    node = FileNode(data, tuple(map(Child, links, sizes)))
    if total is not None and total != node.size:
        raise ValueError(f"its parts have {node.size} bytes, and it says {total}")
    return node


def _link(data: bytes) -> Address:
    """Read a link; its name and its total size mean nothing in a file."""
    found = None
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes) and found is None:
            found, end = Address.read(value)
            if end != len(value):
                raise ValueError("a link has something behind its address")
        elif number not in (2, 3):
            raise ValueError(f"a link has a field {number} that no link has there")
    if found is None:
        raise ValueError("a link leads nowhere")
    return found


def _unixfs(data: bytes) -> tuple[bytes, int | None, list[int]]:
    """Return a file's own bytes, the size that it claims and those of its parts."""
    kind, own, total, sizes = None, None, None, []
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int) and kind is None:
            kind = value
        elif number == 2 and isinstance(value, bytes) and own is None:
            own = value
        elif number == 3 and isinstance(value, int) and total is None:
            total = value
        elif number == 4 and isinstance(value, int):
            sizes.append(value)
        elif number not in (7, 8):  # mode and time of change, which content does not have
            raise ValueError(f"its description has a field {number} that none has there")
    if kind not in (_RAW_DATA, _FILE):
        raise ValueError(f"it is {_KINDS.get(kind, 'of an unknown kind') if kind is not None else 'of no kind'}")
    return own or b"", total, sizes


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protobuf message of numbers and byte strings."""
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        value, at = read_varint(data, at)
        if tag & 7 == _VARINT:
            yield tag >> 3, value
        elif tag & 7 == _BYTES:
            if value > len(data) - at:
                raise ValueError("its node is cut off")
            yield tag >> 3, data[at : at + value]
            at += value
        else:
            raise ValueError("its node has a field of a kind that no node has")
