"""CAR archives, version 1: blocks with their addresses, one behind the other, as a file or over a wire.

    varint, header      {"roots": [CID], "version": 1} in DAG-CBOR
    varint, CID, block  and so on; the varint counts what follows it

Source: CARv1 (IPLD). Nothing in an archive is believed: who reads a block compares it with its address.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, Protocol

from balance_core.errors import BlobNotFound, ConfigError, StorageError
from balance_ipfs.address import Address, read_varint, write_varint
from balance_ipfs.node_form import MAX_BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAX_HEADER = 4096
_MAX_ROOTS = 16
_MAX_BLOCKS = 2**18
"""Blocks of an archive: 64 GiB in chunks of 256 KiB; the index of as many takes about 60 MB."""
_MAX_VARINT = 9
_CID_TAG = b"\xd8\x2a\x58"  # tag 42 on a byte string with one byte of length


class Flow(Protocol):
    """Bytes that are taken one after the other."""

    def take(self, size: int) -> bytes:
        """Return exactly as many bytes, or fewer at the end."""


def header(*roots: Address) -> bytes:
    """Return the beginning of an archive."""
    links = b"".join(_CID_TAG + bytes((len(root.binary) + 1, 0)) + root.binary for root in roots)
    body = b"\xa2\x65roots" + bytes((0x80 + len(roots),)) + links + b"\x67version\x01"
    return write_varint(len(body)) + body


def section(address: Address, block: bytes) -> bytes:
    """Return one block with its address, as an archive holds it."""
    return write_varint(len(address.binary) + len(block)) + address.binary + block


def read_header(flow: Flow) -> tuple[Address, ...]:
    """Read the beginning of an archive and return its roots; raises StorageError for what is none."""
    size = _varint(flow)
    if size is None or size > _MAX_HEADER:
        raise _broken("it does not begin as one")
    body = flow.take(size)
    try:
        return _roots(body)
    except (ValueError, IndexError) as error:
        raise _broken(str(error) or "its header is cut off") from error


def _roots(body: bytes) -> tuple[Address, ...]:
    if b"gversion\x02" in body[:11]:
        raise ValueError("it has version 2, and only version 1 is read")
    if not body.startswith(b"\xa2\x65roots") or not 0x81 <= body[7] <= 0x80 + _MAX_ROOTS:
        raise ValueError("its header names no roots")
    at, roots = 8, []
    for _ in range(body[7] - 0x80):
        if body[at : at + 3] != _CID_TAG or body[at + 4] != 0:
            raise ValueError("its header names a root that is no address")
        root, end = Address.read(body, at + 5)
        if end - at - 4 != body[at + 3]:
            raise ValueError("its header names a root of another length")
        roots.append(root)
        at = end
    if body[at:] != b"\x67version\x01":
        raise ValueError("its header has another version than 1")
    return tuple(roots)


def read_section(flow: Flow) -> tuple[Address, bytes] | None:
    """Read the next block and the address that it claims; None at the end. Raises StorageError."""
    size = _varint(flow)
    if size is None:
        return None
    if size > MAX_BLOCK_BYTES + 64:
        raise _broken(f"it has a block of {size} bytes")
    body = flow.take(size)
    if len(body) != size:
        raise _broken("it is cut off")
    address, end = _address(body)
    return address, body[end:]


def _address(body: bytes) -> tuple[Address, int]:
    try:
        return Address.read(body)
    except ValueError as error:
        raise _broken(f"an address in it cannot be used: {error}") from error


def _varint(flow: Flow) -> int | None:
    """Read a number; None where the archive ends before it."""
    data = b""
    while byte := flow.take(1):
        data += byte
        if byte[0] < 0x80 or len(data) == _MAX_VARINT:
            try:
                return read_varint(data, 0)[0]
            except ValueError as error:
                raise _broken(str(error)) from error
    if data:
        raise _broken("it is cut off")
    return None


def _broken(why: str) -> StorageError:
    return StorageError(
        f"the archive is no CAR file of version 1: {why}", hint="get it again from where it came from"
    )


class _FileFlow:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.position = 0

    def take(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.position += len(data)
        return data


class CarFile:
    """An archive on disk as a door to its blocks: an index in memory, the blocks read when asked for."""

    def __init__(self, path: Path) -> None:
        self.name = f"the archive {str(path)!r}"
        try:
            self._stream = path.open("rb")
        except OSError as error:
            raise ConfigError(f"{self.name} cannot be read: {error.strerror}", hint="check the path") from error
        try:
            flow = _FileFlow(self._stream)
            self.roots = read_header(flow)
            self._places = dict(self._index(flow))
        except BaseException:
            self._stream.close()
            raise

    def _index(self, flow: _FileFlow) -> Iterator[tuple[bytes, tuple[int, int]]]:
        end = os.fstat(self._stream.fileno()).st_size
        count = 0
        while (size := _varint(flow)) is not None:
            start = flow.position
            count += 1
            if size > MAX_BLOCK_BYTES + 64 or start + size > end or count > _MAX_BLOCKS:
                raise _broken("a block is cut off, too large, or one of too many")
            address, length = _address(flow.take(min(size, 64)))
            yield address.digest, (start + length, size - length)
            self._stream.seek(start + size)
            flow.position = start + size

    def root(self) -> Address:
        """Return the only root; raises StorageError where there are more."""
        if len(self.roots) != 1:
            raise StorageError(f"{self.name} has {len(self.roots)} roots", hint="name the address that you want")
        return self.roots[0]

    def block(self, address: Address) -> bytes:
        """Return what the archive holds for an address, unchecked; raises BlobNotFound."""
        place = self._places.get(address.digest)
        if place is None:
            raise BlobNotFound(f"{self.name} does not hold {address}", hint="it is not a whole copy")
        self._stream.seek(place[0])
        return self._stream.read(place[1])

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
