"""The `ipfs` storage: content is put onto a node, and read from the node or through gateways."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, ClassVar, cast

from balance_core import cid as cids
from balance_core.contracts import Diagnoses, Finding, ListsContent, Storage
from balance_core.errors import (
    BalanceError,
    BlobNotFound,
    ConfigError,
    ContentMismatch,
    StorageError,
)
from balance_ipfs.address import Address
from balance_ipfs.settings import IpfsSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from balance_core.settings import Settings
    from balance_ipfs.doors import Door, Gateway, Search
    from balance_ipfs.node import Node
    from balance_ipfs.web import Web

_IN_MEMORY = 2**20
"""Bytes of a source of unknown size which are kept in memory; more go to a file without a name."""
_TRIAL = 3 * cids.CHUNK_BYTES // 2
"""Bytes of the trial content: two leaves and a node."""


_CONFIRMATIONS = 4
"""How often a node is asked whether it keeps a file, and told to."""


class IpfsStorage(Storage, ListsContent, Diagnoses):
    """Content on an IPFS node and behind gateways, neither of which is believed."""

    api_version = 1
    needs_network = True
    settings_class: ClassVar[type[Settings]] = IpfsSettings
    settings: IpfsSettings

    @cached_property
    def _web(self) -> Web:
        from balance_ipfs.web import Web

        given = self.settings
        return Web(retries=given.retries, ca_file=given.ca_file, allow_redirects=given.allow_redirects)

    @cached_property
    def node(self) -> Node | None:
        """The node, if there is one."""
        from balance_ipfs.node import Node

        return Node(self.settings.rpc_url, self._web, self.settings) if self.settings.rpc_url else None

    @cached_property
    def gateways(self) -> tuple[Gateway, ...]:
        """The gateways, in the order in which they are asked."""
        from balance_ipfs.doors import Gateway

        return tuple(Gateway(url, self._web, self.settings.timeout) for url in self.settings.gateways)

    def _writable(self) -> Node:
        if self.node is None:
            raise ConfigError(
                "gateways can be read only: a node is needed", hint="-o storage.rpc_url=URL names the RPC of one"
            )
        return self.node

    def put(self, source: BinaryIO) -> str:
        """Store and pin a stream's content; its address is computed here on the way, and the node must name the same.

        A source whose size cannot be known is kept in a temporary file first. Sent content that the node was not told
        to pin, it forgets; so of a put that fails nothing stays.
        """
        node = self._writable()
        with _sized(source) as (content, start, size):
            sent = _Sent(_again(content, start, size))
            given = node.add(sent, size)
        if sent.size != size:
            raise StorageError(
                f"{node.name} answered before it had been sent everything", hint="nothing was pinned; store it again"
            )
        wanted = Address.parse(sent.address())
        if given != wanted:
            raise ContentMismatch(
                f"{node.name} gives the address {given} to content whose address is {wanted}",
                hint="nothing was pinned; the node does not follow the parameters it was sent, so use another one",
            )
        node.pin(wanted)
        self._confirm(node, wanted)
        return str(wanted)

    @staticmethod
    def _confirm(node: Node, address: Address) -> None:
        # A node that is told by two at once to keep the same file may take the pin away for a moment to set it anew.
        for _ in range(_CONFIRMATIONS):
            if node.pinned(address):
                return
            node.pin(address)
        raise StorageError(
            f"{node.name} does not confirm that it keeps {address}", hint="look at its pins and into its log"
        )

    def import_car(self, archive: BinaryIO, size: int, root: Address) -> None:
        """Send an archive whose content was checked, and make sure that the node keeps it."""
        node = self._writable()
        node.import_archive(_again(archive, 0, size), size, root)
        self._confirm(node, root)

    def search(self, address: Address) -> Search:
        """Return the blocks of a file from all doors."""
        from balance_ipfs.doors import Search

        doors: list[Door] = [self.node] if self.node is not None else []
        return Search(address, [*doors, *self.gateways])

    def open(self, cid: str, *, max_size: int) -> BinaryIO:
        """Return the content as a stream, forward only; every block is hashed before it is handed out.

        Any address of a file over SHA-256 will do, in any version and base.
        """
        from balance_ipfs.content import Content, ContentStream

        address = Address.parse(cid)
        blocks = self.search(address)
        try:
            content = Content(address, blocks, max_size=max_size)
        except BaseException:
            blocks.close()
            raise
        return io.BufferedReader(ContentStream(content), cids.CHUNK_BYTES)

    def has(self, cid: str) -> bool:
        """Say whether the node is pledged to keep the content, so that it has all of it.

        Content that was unpinned may still be there, and be opened. Without a node a gateway that gives the first
        block will do.
        """
        address = Address.parse(cid)
        if self.node is not None:
            return self.node.pinned(address)
        blocks = self.search(address)
        try:
            blocks.get(address)
        except BlobNotFound:
            return False
        finally:
            blocks.close()
        return True

    def pin(self, cid: str) -> None:
        """Make the node keep the content; what it lacks it fetches from its network."""
        address, node = Address.parse(cid), self._writable()
        if not node.pinned(address):
            if not address.fits(node.block(address)):
                raise ContentMismatch(f"{node.name} gave other bytes than {address} stands for")
            node.pin(address)
            self._confirm(node, address)

    def unpin(self, cid: str) -> None:
        """Allow the node to forget the content."""
        address, node = Address.parse(cid), self._writable()
        if not node.unpin(address) and not node.holds(address):
            raise BlobNotFound(f"{node.name} does not hold {address}", hint="there is nothing to unpin")

    def pinned(self) -> Iterator[str]:
        """Yield the addresses of all files that the node is pledged to keep."""
        for address in self._writable().pins():
            yield str(address)

    def diagnose(self) -> Iterator[Finding]:
        """Try the node and each gateway; nothing is stored."""
        if self.node is None and not self.gateways:
            yield Finding("doors", "there is neither node nor gateway", hint="-o storage.rpc_url=URL")
        if self.node is not None:
            yield from self._diagnose_node(self.node)
        for gateway in self.gateways:
            try:
                gateway.probe()
            except BalanceError as error:
                yield Finding("gateway", error.message, hint=error.hint or "use another gateway")
            else:
                yield Finding("gateway", f"{gateway.url} answers as a trustless gateway")

    @staticmethod
    def _diagnose_node(node: Node) -> Iterator[Finding]:
        trial = bytes(_TRIAL)
        try:
            yield Finding("node", f"{node.url} answers: version {node.version()}")
            if str(node.add((trial,), len(trial), only_hash=True)) == cids.of_bytes(trial):
                yield Finding("addresses", "the node gives content the addresses that are computed here")
            else:
                yield Finding("addresses", "the node gives content other addresses", hint="write to another node")
            next(node.pins(), None)
            yield Finding("pins", "the node lists its pins")
        except BalanceError as error:
            yield Finding("node", error.message, hint=error.hint or "look into the node's log")


def _again(content: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    """Yield content once more; raises StorageError if it is not what it was."""
    try:
        content.seek(start)
        while size:
            piece = content.read(min(size, 4 * cids.CHUNK_BYTES))
            if not piece:
                raise StorageError("what should be stored became shorter meanwhile", hint="store it again")
            size -= len(piece)
            yield piece
        if content.read(1):
            raise StorageError("what should be stored became longer meanwhile", hint="store it again")
    except OSError as error:
        raise _unreadable(error) from error


class _Sent:
    """Content on its way to a node, hashed in a thread beside, so that its address is that of what went out."""

    def __init__(self, content: Iterable[bytes]) -> None:
        self._content = content
        self._hasher = cids.Hasher()
        self._hashed: Future[None] | None = None
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        with ThreadPoolExecutor(1, "hash") as beside:
            for piece in self._content:
                self._wait()  # never more than two pieces are in memory
                self._hashed = beside.submit(self._hasher.update, piece)
                self.size += len(piece)
                yield piece

    def _wait(self) -> None:
        if self._hashed is not None:
            self._hashed.result()

    def address(self) -> str:
        """Return the address of what was sent."""
        self._wait()
        return self._hasher.cid()


@contextlib.contextmanager
def _sized(source: BinaryIO) -> Iterator[tuple[BinaryIO, int, int]]:
    """Lend a source, or a copy of one that cannot be measured, with its start and size."""
    with contextlib.ExitStack() as held:
        try:
            start = source.tell() if source.seekable() else 0
            end, content = _end(source), source
            if end is None:
                # It is one, and typeshed does not say so.
                content = cast("BinaryIO", held.enter_context(tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)))
                for chunk in cids.chunks_of(source):
                    content.write(chunk)
                start, end = 0, content.tell()
        except OSError as error:
            raise _unreadable(error) from error
        yield content, start, max(0, end - start)


def _end(source: BinaryIO) -> int | None:
    """Return where a source ends; None for one that does not tell, as some files of the system do not."""
    if not source.seekable():
        return None
    try:
        return source.seek(0, os.SEEK_END)
    except OSError:
        return None


def _unreadable(error: OSError) -> StorageError:
    return StorageError(f"what should be stored cannot be read: {error.strerror or error}", hint="nothing was stored")
