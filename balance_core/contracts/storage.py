"""Where content is kept by its address."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, BinaryIO

from balance_core.contracts.plugin import Plugin

if TYPE_CHECKING:
    from collections.abc import Iterable


class Storage(Plugin):
    """Keeps blobs by content address (entry points: balance.storage); CIDs are those of `balance_core.cid`."""

    @abstractmethod
    def put(self, source: BinaryIO) -> str:
        """Store and pin a stream's content and return its CID; a blob is there whole or not at all."""

    @abstractmethod
    def open(self, cid: str, *, max_size: int) -> BinaryIO:
        """Return the content as a stream that never yields a byte that was not checked against the CID.

        Raises BlobNotFound, ContentMismatch, or ContentTooLarge for content of more than `max_size` bytes, at once or
        while reading.
        """

    @abstractmethod
    def has(self, cid: str) -> bool:
        """Say whether the store holds the content."""

    @abstractmethod
    def pin(self, cid: str) -> None:
        """Keep the content until it is unpinned; raises BlobNotFound."""

    @abstractmethod
    def unpin(self, cid: str) -> None:
        """Allow the store to forget the content; raises BlobNotFound."""


class ListsContent(ABC):
    """A store that can say what it keeps."""

    @abstractmethod
    def pinned(self) -> Iterable[str]:
        """Return the addresses of all pinned content, once each."""
