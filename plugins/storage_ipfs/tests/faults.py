"""Servers that do what they should not: one answers each connection with whatever a test tells it to."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from balance_core import cid

if TYPE_CHECKING:
    import io
    import ssl
    from collections.abc import Callable


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: io.BufferedReader

    @property
    def address(self) -> str:
        """The content asked for."""
        return self.query.get("arg") or self.path.rpartition("/")[2]

    def read_body(self) -> bytes:
        return self.body.read(int(self.headers.get("content-length", 0)))


@dataclass
class Wire:
    """What goes back."""

    socket: socket.socket
    ended: threading.Event = field(default_factory=threading.Event)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        fields = {
            "content-length": str(len(body)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        self.head(status, fields)
        self.send(body)

    def head(self, status: int, fields: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Something", *(f"{name}: {value}" for name, value in fields.items())]
        self.send(("\r\n".join([*lines, "connection: close"]) + "\r\n\r\n").encode())

    def hang(self) -> None:
        """Say nothing more until the other side gives up."""
        self.socket.settimeout(60)
        with contextlib.suppress(OSError):
            while self.socket.recv(4096):
                pass


class Server:
    """A server on loopback; `calls` are the requests that it got."""

    def __init__(self, respond: Callable[[Asked, Wire], None], tls: ssl.SSLContext | None = None) -> None:
        self._respond = respond
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.calls: list[Asked] = []
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection, self._spoken(connection) as spoken:
            with spoken.makefile("rb") as stream:
                asked = _request(stream)
                self.calls.append(asked)
                self._respond(asked, Wire(spoken))
            spoken.shutdown(socket.SHUT_WR)

    def _spoken(self, connection: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(connection, server_side=True) if self._tls else connection

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)


def _request(stream: io.BufferedReader) -> Asked:
    method, target, _ = stream.readline().decode().split(" ")
    headers = {}
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    return Asked(method, parts.path, query, headers, stream)


def blocks_of(data: bytes, layout: cid.Layout = cid.BALANCE) -> tuple[str, dict[str, bytes]]:
    """Return content's address and its blocks by theirs."""
    from balance_ipfs.address import Address

    blocks = {}
    hasher = cid.Hasher(layout, lambda binary, block: blocks.update({str(Address.read(binary)[0]): block}))
    hasher.update(data)
    return hasher.cid(), blocks


def honest(blocks: dict[str, bytes]) -> Callable[[Asked, Wire], None]:
    """Return a gateway that has single blocks and no archives."""

    def respond(asked: Asked, wire: Wire) -> None:
        block = blocks.get(asked.address) if asked.query.get("format") == "raw" else None
        if block is None:
            wire.answer(404, b"not found")
        else:
            wire.answer(200, block, content_type="application/vnd.ipld.raw")

    return respond
