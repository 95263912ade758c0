"""A node's RPC (/api/v0): POST only, an answer in lines of JSON, an error as status 500 with JSON.

Only what an administrator may do is done through it, so it is reached on loopback or behind an authorization. A node
that cannot find a block searches for it without end, so every call carries the node's own `timeout` and one of ours.
"""

from __future__ import annotations

import json
import math
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from balance_core.errors import BlobNotFound, ConfigError, ContentMismatch, StorageError, StorageUnreachable
from balance_ipfs.address import Address
from balance_ipfs.doors import Ahead, CarAhead, ContentAhead
from balance_ipfs.node_form import MAX_BLOCK_BYTES
from balance_ipfs.web import Answer, Call, Web, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from balance_ipfs.settings import IpfsSettings

# Every parameter that decides what address content gets, because nodes change their defaults.
_ADD = {
    "cid-version": "1",
    "raw-leaves": "true",
    "chunker": "size-262144",
    "max-file-links": "174",
    "hash": "sha2-256",
    "cid-base": "base32",
    "trickle": "false",
    "inline": "false",
    "nocopy": "false",
    "wrap-with-directory": "false",
    "preserve-mode": "false",
    "preserve-mtime": "false",
    "progress": "false",
    "quieter": "true",
}
_ANSWER_BYTES = 2**20
_GRACE_SECONDS = 2.0
"""How much longer than the node's own limit its answer is waited for."""
_ABSENT = ("not found", "could not find", "deadline exceeded", "timed out", "timeout")
_TYPE = "application/octet-stream"


@dataclass(frozen=True)
class Node:
    """A node, by the address of its RPC."""

    url: str
    web: Web
    settings: IpfsSettings

    @property
    def name(self) -> str:
        """The node, as an error names it."""
        return f"the IPFS node at {self.url}"

    def version(self) -> str:
        """Return what the node says it is."""
        said = self._json("version")
        return plain(f"{said.get('AgentVersion') or said.get('Version') or 'unknown'}")

    def block(self, address: Address) -> bytes:
        """Return what the node gives for an address, unchecked; it may search its network for it."""
        answer, body = self.web.read(
            self._call("block/get", {"arg": str(address)}, self.settings.timeout), limit=MAX_BLOCK_BYTES
        )
        if answer.status != 200:
            raise self._refusal("block/get", answer.status, body, address)
        return body

    def ahead(self, root: Address, *, raw_leaves: bool) -> Ahead | None:
        """Ask for the content itself where leaves are bare content, which is faster, else for an archive."""
        name = "cat" if raw_leaves else "dag/export"
        parameters = {"arg": str(root)} if raw_leaves else {"arg": str(root), "progress": "false"}
        # The node's own limit is for the whole stream here, whose length nobody knows: ours is for each block.
        call = self._call(name, parameters, self.settings.timeout, limited=False)
        with self.web.handed_over(call) as answer:
            if answer.status != 200:
                return None
            return ContentAhead(answer) if raw_leaves else CarAhead(answer, root)

    def add(self, content: Iterable[bytes], size: int, *, only_hash: bool = False) -> Address:
        """Send content and return the address that the node gives it, which is to be compared; nothing is pinned."""
        parameters = {**_ADD, "pin": "false", "only-hash": str(only_hash).lower()}
        lines = list(self._upload("add", parameters, content, size))
        hashes = [line["Hash"] for line in lines if isinstance(line.get("Hash"), str)]
        if not hashes:
            raise StorageError(
                f"{self.name} does not say under which address it keeps what it was sent",
                hint="look into the node's log",
            )
        return self._address(hashes[-1])

    def import_archive(self, archive: Iterable[bytes], size: int, root: Address) -> None:
        """Send an archive and let the node pin its root."""
        parameters = {"pin-roots": "true", "allow-big-block": "false"}
        for line in self._upload("dag/import", parameters, archive, size):
            found = line.get("Root")
            if not isinstance(found, dict):
                continue
            if found.get("PinErrorMsg"):
                raise StorageError(f"{self.name} did not pin {root}: {plain(str(found['PinErrorMsg']))}")
            link = found.get("Cid")
            if not isinstance(link, dict) or self._address(link.get("/")) != root:
                raise ContentMismatch(f"{self.name} pinned something else than {root}")

    def pin(self, address: Address) -> None:
        """Tell the node to keep a file with everything below it, and to fetch what it lacks."""
        self._json("pin/add", {"arg": str(address), "recursive": "true"}, address, self.settings.pin_timeout)

    def unpin(self, address: Address) -> bool:
        """Tell the node that it may forget a file; False if it was not told to keep it."""
        try:
            self._json("pin/rm", {"arg": str(address), "recursive": "true"}, address)
        except StorageError as error:
            if "not pinned" in error.message:
                return False
            raise
        return True

    def pinned(self, address: Address) -> bool:
        """Say whether the node keeps a file with everything below it, as its own list of pins says."""
        try:
            said = self._json("pin/ls", {"arg": str(address), "type": "recursive"}, address)
        except StorageError as error:
            if "not pinned" in error.message:
                return False
            raise
        keys = said.get("Keys")
        if not isinstance(keys, dict):
            raise self._senseless("pin/ls")
        return any(
            self._address(key) == address and isinstance(entry, dict) and entry.get("Type") == "recursive"
            for key, entry in keys.items()
        )

    def pins(self) -> Iterator[Address]:
        """Yield the addresses of the files that the node keeps, as it lists them."""
        # No base is asked for: some nodes then fail at the first address of version 0, which has only one.
        parameters = {"type": "recursive", "stream": "true"}
        with self.web.ask(self._call("pin/ls", parameters, self.settings.timeout)) as answer:
            if answer.status != 200:
                raise self._refusal("pin/ls", answer.status, answer.words().encode())
            for line in self._lines("pin/ls", answer):
                keys = line["Keys"] if isinstance(line.get("Keys"), dict) else (line.get("Cid"),)
                for text in keys:
                    if not isinstance(text, str):
                        raise self._senseless("pin/ls")
                    try:
                        yield Address.parse(text)
                    except ConfigError:
                        continue  # a pin of something that is no file

    def holds(self, address: Address) -> bool:
        """Say whether the node has the first block at hand."""
        parameters = {"arg": str(address), "offline": "true"}
        answer, _ = self.web.read(
            self._call("block/stat", parameters, min(self.settings.timeout, 2.0)), limit=_ANSWER_BYTES
        )
        return answer.status == 200

    def _json(
        self,
        name: str,
        parameters: Mapping[str, str] | None = None,
        about: Address | None = None,
        seconds: float | None = None,
    ) -> dict[str, Any]:
        """Make a call that may be made twice, and return its answer, one JSON object."""
        call = self._call(name, parameters or {}, seconds or self.settings.timeout)
        answer, body = self.web.read(call, limit=_ANSWER_BYTES)
        if answer.status != 200:
            raise self._refusal(name, answer.status, body, about)
        return self._object(name, body)

    def _upload(
        self, name: str, parameters: Mapping[str, str], content: Iterable[bytes], size: int
    ) -> Iterator[dict[str, Any]]:
        """Send one file and yield the lines of the answer."""
        boundary = secrets.token_hex(16)
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="blob"\r\n'
            f"Content-Type: {_TYPE}\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "content-type": f"multipart/form-data; boundary={boundary}",
            "content-length": str(len(head) + size + len(tail)),
        }
        call = self._call(name, parameters, self.settings.timeout + size / self.settings.slowest, headers)
        with self.web.ask(call, _framed(head, content, tail)) as answer:
            if answer.status != 200:
                raise self._refusal(name, answer.status, answer.words().encode())
            yield from self._lines(name, answer)

    def _lines(self, name: str, answer: Answer) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects of an answer, one on each line."""
        pending = b""
        while piece := answer.take(4096):
            *lines, pending = (pending + piece).split(b"\n")
            if len(pending) > _ANSWER_BYTES:
                raise self._senseless(name)
            yield from (self._object(name, line) for line in lines if line.strip())
        if pending.strip():
            yield self._object(name, pending)

    def _object(self, name: str, line: bytes) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._senseless(name) from error
        if not isinstance(found, dict):
            raise self._senseless(name)
        if found.get("Type") == "error" and "Message" in found:  # an error after the answer had begun
            raise StorageError(f"{self.name} broke off {name}: {plain(str(found['Message']))}")
        return found

    def _address(self, text: object) -> Address:
        try:
            return Address.parse(text if isinstance(text, str) else "")
        except ConfigError as error:
            raise StorageError(f"{self.name} gives an address that nobody can use: {error.message}") from error

    def _call(
        self,
        name: str,
        parameters: Mapping[str, str],
        seconds: float,
        headers: Mapping[str, str] | None = None,
        *,
        limited: bool = True,
    ) -> Call:
        own = {"timeout": f"{math.ceil(seconds * 1000)}ms"} if limited else {}
        word = os.environ.get(self.settings.authorization_variable)
        allowed = {"authorization": word} if word else {}
        return Call(
            self.name,
            "POST",
            f"{self.url}/api/v0/{name}",
            seconds + (_GRACE_SECONDS if limited else 0),
            {**parameters, **own},
            {**(headers or {}), **allowed},
            "start it with `ipfs daemon` (if it says that its repository is locked, and no other runs, remove the "
            "repo.lock in there), or name another: -o storage.rpc_url=URL",
        )

    def _refusal(self, name: str, status: int, body: bytes, about: Address | None = None) -> StorageError:
        """Return what an answer other than 200 means."""
        said = _message(body)
        if status in (401, 403):
            return StorageUnreachable(
                f"{self.name} refuses the call {name} ({status}): {said}",
                hint=f"an authorization that it may want goes into {self.settings.authorization_variable}",
            )
        if status in (404, 405):
            return StorageUnreachable(
                f"{self.name} does not know the call {name} ({status})",
                hint="give the address of the node's RPC, usually port 5001, and not that of its gateway",
            )
        if about is not None and status >= 500 and any(word in said.lower() for word in _ABSENT):
            return BlobNotFound(
                f"{self.name} does not find {about}: {said}", hint="ask whoever gave you the address for it"
            )
        return StorageError(f"{self.name} answers {name} with {status}: {said}", hint="look into the node's log")

    def _senseless(self, name: str) -> StorageError:
        return StorageError(
            f"{self.name} answers {name} with something that a node does not say",
            hint="give the address of a node's RPC",
        )


def _framed(head: bytes, content: Iterable[bytes], tail: bytes) -> Iterator[bytes]:
    yield head
    yield from content
    yield tail


def _message(body: bytes) -> str:
    """Return the message of a node's error, whatever form it has."""
    try:
        said = json.loads(body)
        text = said["Message"]
    except (ValueError, TypeError, KeyError, RecursionError):
        text = body[:1000].decode(errors="replace")
    return plain(str(text)) or "without a reason"
