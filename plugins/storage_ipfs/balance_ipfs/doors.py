"""The doors to content, and the search through them: what one door does not give, or gives wrongly, the next may.

A door is believed in nothing. Every block is hashed before it is used, so a door can refuse and delay, and no more;
one that gave wrong bytes, or let a reader wait, is passed over for the rest of the read.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from balance_core.errors import BlobNotFound, ContentMismatch, StorageError, StorageUnreachable
from balance_ipfs import car
from balance_ipfs.address import DAG_PB, RAW, Address
from balance_ipfs.node_form import MAX_BLOCK_BYTES
from balance_ipfs.web import Answer, Call, Web, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

_ABSENT = frozenset((404, 410, 451))
_MAX_LEAF = 2**20 + 64
"""Content of a leaf in any usual layout; a node with more below it is no leaf."""
_CAR_TYPE = "application/vnd.ipld.car"
_RAW_TYPE = "application/vnd.ipld.raw"
_PROBE = "bafkqaaa"
"""The empty content as an identity: what the specification of trustless gateways has for trying one out."""


class Ahead(Protocol):
    """Blocks that a door sends unasked, in the order in which a file is read: the fast way."""

    def take(self, address: Address, offset: int, size: int | None) -> bytes | None:
        """Return this block, checked, if it comes next; None if the stream has another order.

        Raises StorageError where the stream cannot be used further.
        """

    def close(self) -> None:
        """End the stream."""


class Door(Protocol):
    """A place that may hold blocks."""

    @property
    def name(self) -> str:
        """The place, as an error names it."""

    def block(self, address: Address) -> bytes:
        """Return what the door gives for an address, unchecked; raises StorageError."""


@runtime_checkable
class Streams(Protocol):
    """A door that can send a whole file's blocks in one answer."""

    def ahead(self, root: Address, *, raw_leaves: bool) -> Ahead | None:
        """Begin to send a file; None if the door does not do that."""


class CarAhead:
    """An archive on the wire."""

    def __init__(self, answer: Answer, root: Address) -> None:
        self._answer = answer
        self._root: Address | None = root
        car.read_header(answer)
        self._pending: tuple[Address, bytes] | None = None

    def take(self, address: Address, offset: int, size: int | None) -> bytes | None:
        """Return this block if it comes next; the root, which the reader has already, is passed over."""
        del offset, size
        if self._pending is None:
            self._pending = self._next()
            if self._root is not None and self._pending[0].same_block(self._root):
                self._pending = self._next()
            self._root = None
        found, block = self._pending
        if not found.same_block(address):
            return None
        if not address.fits(block):
            raise ContentMismatch(f"the archive has other bytes than {address} stands for")
        self._pending = None
        return block

    def _next(self) -> tuple[Address, bytes]:
        section = car.read_section(self._answer)
        if section is None:
            raise StorageError("the archive ended early")
        return section

    def close(self) -> None:
        """End the stream."""
        self._answer.close()


class ContentAhead:
    """A file's bare content on the wire, cut into the leaves that its nodes announce."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._offset = 0

    def take(self, address: Address, offset: int, size: int | None) -> bytes | None:
        """Return a raw leaf, if it is the next one."""
        if address.codec != RAW or size is None or size > MAX_BLOCK_BYTES:
            return None
        if offset != self._offset:
            raise StorageError("the content is read in another order")
        block = self._answer.take(size)
        self._offset += size
        if not address.fits(block):
            raise ContentMismatch(f"the content has other bytes than {address} stands for")
        return block

    def close(self) -> None:
        """End the stream."""
        self._answer.close()


@dataclass(frozen=True)
class Gateway:
    """A trustless HTTP gateway: /ipfs/CID, as single blocks or as an archive."""

    url: str
    web: Web
    seconds: float

    @property
    def name(self) -> str:
        """The gateway, as an error names it."""
        return f"the gateway {self.url}"

    def block(self, address: Address) -> bytes:
        """Return what the gateway gives for an address, unchecked."""
        answer, body = self.web.read(self._call(str(address), "raw", _RAW_TYPE), limit=MAX_BLOCK_BYTES)
        if answer.status != 200:
            raise self._refusal(address, answer.status, body)
        return body

    def ahead(self, root: Address, *, raw_leaves: bool) -> Ahead | None:
        """Ask for the whole file as an archive in reading order."""
        del raw_leaves
        wanted = f"{_CAR_TYPE}; version=1; order=dfs; dups=y"
        extra = {"dag-scope": "all", "car-version": "1", "car-order": "dfs", "car-dups": "y"}
        with self.web.handed_over(self._call(str(root), "car", wanted, extra)) as answer:
            return CarAhead(answer, root) if answer.status == 200 else None

    def probe(self) -> None:
        """Make sure that this is a trustless gateway; raises StorageError that says why it is not."""
        answer, body = self.web.read(self._call(_PROBE, "raw", _RAW_TYPE), limit=2**20)
        if answer.status != 200 or body or answer.kind != _RAW_TYPE:
            raise StorageError(
                f"{self.name} is no trustless gateway: it answers {answer.status} with {len(body)} bytes of "
                f"{plain(answer.kind) or 'nothing'}",
                hint="take one that serves ?format=raw",
            )

    def _call(self, address: str, form: str, accepted: str, extra: dict[str, str] | None = None) -> Call:
        url = f"{self.url}/ipfs/{address}"
        parameters = {"format": form, **(extra or {})}
        hint = "try another gateway: -o storage.gateways=URL,URL"
        return Call(self.name, "GET", url, self.seconds, parameters, {"accept": accepted}, hint)

    def _refusal(self, address: Address, status: int, body: bytes) -> StorageError:
        said = plain(body[:1000].decode(errors="replace"))
        if status in _ABSENT or (status >= 500 and "not found" in said):
            return BlobNotFound(f"{self.name} does not hold {address}", hint="ask whoever gave you the address")
        return StorageUnreachable(f"{self.name} answers {status}: {said or 'nothing'}", hint="try another gateway")


class Search:
    """The blocks of one file, from the doors that have not disappointed yet."""

    def __init__(self, root: Address, doors: Sequence[Door]) -> None:
        self._root = root
        self._doors = list(doors)
        self._failures: dict[str, StorageError] = {}
        self._ahead: Ahead | None = None
        self._may_stream = True

    def get(self, address: Address, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a checked block; raises BlobNotFound, ContentMismatch or StorageUnreachable where no door has it."""
        if not address.same_block(self._root):
            block = self._streamed(address, offset, size)
            if block is not None:
                return block
        for door in tuple(self._doors):
            block = self._from(door, address)
            if block is not None:
                return block
        raise self._failure(address)

    def _from(self, door: Door, address: Address) -> bytes | None:
        """Ask one door; one that is slow, broken or lying is not asked again, one that lacks a block comes last."""
        try:
            block = door.block(address)
            if address.fits(block):
                return block
            raise ContentMismatch(
                f"{door.name} gave other bytes than {address} stands for",
                hint="nothing of it was used; try another gateway: -o storage.gateways=URL,URL",
            )
        except StorageError as error:
            self._doors.remove(door)
            self._failures[door.name] = error
            if isinstance(error, BlobNotFound):
                self._doors.append(door)
            return None

    def _streamed(self, address: Address, offset: int, size: int | None) -> bytes | None:
        """Return a block that comes unasked, if the best door sends it."""
        if self._ahead is None and self._may_stream:
            self._begin(address, size)
        if self._ahead is None:
            return None
        try:
            return self._ahead.take(address, offset, size)
        except StorageError:
            # Whatever is wrong with it: single blocks are asked for from here on, and whose fault it is will show.
            self._end()
            return None

    def _begin(self, address: Address, size: int | None) -> None:
        if address.codec == DAG_PB and (size is None or size > _MAX_LEAF) and not self._sends_nodes():
            return  # a node above the leaves tells nothing of them yet
        self._may_stream = False
        if self._doors and isinstance(door := self._doors[0], Streams):
            with contextlib.suppress(StorageError):
                self._ahead = door.ahead(self._root, raw_leaves=address.codec == RAW)

    def _sends_nodes(self) -> bool:
        return bool(self._doors) and isinstance(self._doors[0], Gateway)

    def _end(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.close()

    def _failure(self, address: Address) -> StorageError:
        """Return one error for what all doors did: a lie outweighs silence, and silence a plain no."""
        failures = list(self._failures.values())
        if not failures:
            return StorageUnreachable(
                "there is no node and no gateway to ask", hint="-o storage.rpc_url=URL or -o storage.gateways=URL,URL"
            )
        kinds: tuple[type[StorageError], ...] = (ContentMismatch, StorageUnreachable, BlobNotFound, StorageError)
        kind = next(kind for kind in kinds if any(isinstance(failure, kind) for failure in failures))
        worst = [failure for failure in failures if isinstance(failure, kind)]
        said = "; ".join(failure.message for failure in worst)
        others = len(failures) - len(worst)
        more = f" ({others} more had no better answer)" if others else ""
        if kind is BlobNotFound and not address.same_block(self._root):
            said = f"{self._root} is not whole: {said}"
        return kind(said + more, hint=worst[0].hint)

    def close(self) -> None:
        """End what is still being sent, and let go of files."""
        self._end()
        for door in self._doors:
            close = getattr(door, "close", None)
            if close is not None:
                close()
