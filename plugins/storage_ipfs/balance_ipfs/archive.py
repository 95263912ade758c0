"""Archives of content: written from a file or from the doors, read into a file or sent to a node, always checked."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, BinaryIO

from balance_core import cid as cids
from balance_core.errors import ConfigError
from balance_core.files import output_file
from balance_ipfs import car
from balance_ipfs.address import Address
from balance_ipfs.content import Content
from balance_ipfs.doors import Search

if TYPE_CHECKING:
    from pathlib import Path

    from balance_ipfs.content import Blocks
    from balance_ipfs.storage import IpfsStorage


def pack(source: Path, target: Path, layout: cids.Layout = cids.BALANCE) -> str:
    """Write a file's blocks as an archive, children before their parents, and return the address."""
    with _readable(source) as stream:
        root = _import(stream, layout, None)
        with output_file(target) as archive:
            archive.write(car.header(root))
            if _import(stream, layout, archive) != root:
                raise ConfigError(f"{str(source)!r} changed while it was packed", hint="pack it again")
    return str(root)


def _import(source: BinaryIO, layout: cids.Layout, archive: BinaryIO | None) -> Address:
    """Cut a file into blocks and return its address; the blocks go into the archive, if there is one, each once."""
    written: set[bytes] = set()

    def emit(binary: bytes, block: bytes) -> None:
        if archive is not None and binary not in written:
            written.add(binary)
            archive.write(car.section(Address.read(binary)[0], block))

    hasher = cids.Hasher(layout, emit)
    source.seek(0)
    for chunk in cids.chunks_of(source):
        hasher.update(chunk)
    return Address.parse(hasher.cid())


def unpack(source: Path, target: Path, *, cid: str | None, max_size: int) -> str:
    """Write an archive's content to a file and return its address."""
    archive = car.CarFile(source)
    try:
        root = Address.parse(cid) if cid else archive.root()
        content = Content(root, Search(root, [archive]), max_size=max_size)
        with output_file(target) as stream:
            for piece in content.pieces():
                stream.write(piece)
    finally:
        archive.close()
    return str(root)


def send(storage: IpfsStorage, source: Path, *, cid: str | None, max_size: int) -> str:
    """Send an archive's content to the node: only blocks of the content, in reading order, and every one checked."""
    archive = car.CarFile(source)
    try:
        root = Address.parse(cid) if cid else archive.root()
        with tempfile.TemporaryFile() as checked:
            _copy(root, Search(root, [archive]), checked, max_size=max_size)
            storage.import_car(checked, checked.tell(), root)
    finally:
        archive.close()
    return str(root)


def fetch(storage: IpfsStorage, cid: str, target: Path, *, max_size: int) -> str:
    """Write content from the doors as an archive."""
    root = Address.parse(cid)
    search = storage.search(root)
    try:
        with output_file(target) as stream:
            _copy(root, search, stream, max_size=max_size)
    finally:
        search.close()
    return str(root)


def _copy(root: Address, blocks: Blocks, target: BinaryIO, *, max_size: int) -> None:
    """Write the archive of a content whose blocks come from anywhere."""
    target.write(car.header(root))
    for _ in Content(root, _Recorded(blocks, target), max_size=max_size).pieces():
        pass


class _Recorded:
    """Blocks that are also written to an archive, each once, as they are read."""

    def __init__(self, blocks: Blocks, target: BinaryIO) -> None:
        self._blocks = blocks
        self._target = target
        self._written: set[bytes] = set()

    def get(self, address: Address, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a checked block, and write it."""
        block = self._blocks.get(address, offset=offset, size=size)
        if address.binary not in self._written:
            self._written.add(address.binary)
            self._target.write(car.section(address, block))
        return block

    def close(self) -> None:
        """Let go of the blocks."""
        self._blocks.close()


def _readable(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error.strerror}", hint="check the path") from error
