"""A file's content out of checked blocks, in order and in constant memory."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Protocol

from balance_core.errors import ContentMismatch, ContentTooLarge, StorageError
from balance_ipfs.address import DAG_PB, Address
from balance_ipfs.node_form import MAX_BLOCK_BYTES, Child, FileNode, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

MAX_LEVELS = 4
"""Levels of nodes above the leaves; four of 174 links reach 240 TB in chunks of 256 KiB."""
_MIN_AVERAGE_BLOCK = 256
"""Bytes of content that a block brings on average, at least: else reading little content takes endless calls."""
_FREE_BLOCKS = 1000


class Blocks(Protocol):
    """Where blocks come from; what they return fits the address."""

    def get(self, address: Address, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a checked block: one that is at `offset` of the content and brings `size` bytes of it, if known."""

    def close(self) -> None:
        """Let go of connections and files."""


class Content:
    """A file whose first block was read and whose size is therefore known, as its author claims it."""

    def __init__(self, root: Address, blocks: Blocks, *, max_size: int) -> None:
        self.root = root
        self._blocks = blocks
        self._node = decode(root, blocks.get(root))
        self.size = self._node.size
        if self.size > max_size:
            raise ContentTooLarge(
                f"{root} has {self.size} bytes, more than the {max_size} allowed",
                hint="allow more if you expected as much",
            )
        self._visited = 0

    def pieces(self) -> Iterator[bytes]:
        """Yield the content; raises StorageError for parts that are missing or do not fit together."""
        offset = len(self._node.data)
        if offset:
            yield self._node.data
        levels = [iter(self._node.children)]
        while levels:
            child = next(levels[-1], None)
            if child is None:
                levels.pop()
                continue
            node = self._node_of(child, offset)
            if node.children:
                if len(levels) == MAX_LEVELS:
                    raise StorageError(f"{self.root} has more than {MAX_LEVELS} levels of nodes")
                levels.append(iter(node.children))
            offset += len(node.data)
            if node.data:
                yield node.data

    def _node_of(self, child: Child, offset: int) -> FileNode:
        self._visited += 1
        if self._visited > _FREE_BLOCKS + self.size // _MIN_AVERAGE_BLOCK:
            raise StorageError(f"{self.root} is cut into too small pieces to be read")
        if child.address.codec != DAG_PB and child.size > MAX_BLOCK_BYTES:
            raise StorageError(f"{self.root} has a block of {child.size} bytes: more than any node passes on")
        node = decode(child.address, self._blocks.get(child.address, offset=offset, size=child.size))
        if node.size != child.size:
            raise ContentMismatch(
                f"a part of {self.root} has {node.size} bytes and not the {child.size} announced",
                hint="its author made it so: ask for the content elsewhere",
            )
        return node

    def close(self) -> None:
        """Let go of what the blocks come from."""
        self._blocks.close()


class ContentStream(io.RawIOBase):
    """A content as a stream, forward only; an error that it has raised it raises again."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._pieces = content.pieces()
        self._piece = memoryview(b"")
        self._position = 0
        self._error: Exception | None = None

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        """Read into a buffer, at most to the end of a block."""
        view = memoryview(buffer).cast("B")
        piece = self._next()[: len(view)]
        view[: len(piece)] = piece
        self._piece = self._piece[len(piece) :]
        self._position += len(piece)
        return len(piece)

    def readall(self) -> bytes:
        """Read the rest by whole blocks: the inherited one asks for a few kilobytes at a time."""
        found = []
        while piece := self._next():
            found.append(bytes(piece))
            self._piece = memoryview(b"")
            self._position += len(piece)
        return b"".join(found)

    def _next(self) -> memoryview:
        """Return what is left of the current piece, or the next one; empty at the end."""
        if self._error is not None:
            raise self._error
        if not self._piece:
            try:
                self._piece = memoryview(next(self._pieces, b""))
            except Exception as error:
                self._error = error
                raise
        return self._piece

    def close(self) -> None:
        """Let go of connections and files."""
        if not self.closed:
            self._content.close()
        super().close()
