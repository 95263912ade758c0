"""Listening: the service behind uvicorn, in this thread until it is told to end, or in one of its own."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import uvicorn

from balance_core.errors import ConfigError, ToolFailed
from balance_core.service.app import application
from balance_core.service.heads import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI

    from balance_core.service.auth import KeyRing
    from balance_core.service.provider import Provider
    from balance_core.service.settings import ServiceLimits

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_START_SECONDS = 60.0
_GRACE_SECONDS = 10
"""How long open requests may go on when the service ends."""


@dataclass(frozen=True)
class Place:
    """Where a service listens: a host, a port (0: any free one), and, for TLS, certificate and key as PEM files."""

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    private_key: Path | None = None

    @property
    def local(self) -> bool:
        """Whether only this machine gets there."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def encrypted(self) -> bool:
        """Whether it speaks TLS; raises ConfigError for half of what that needs."""
        if (self.certificate is None) != (self.private_key is None):
            raise ConfigError("TLS needs a certificate and its key", hint="give both --tls-cert and --tls-key")
        return self.certificate is not None

    def hosts(self, keys: KeyRing | None) -> tuple[str, ...]:
        """Return the names that a service here answers to: without keys, none that a page of others could take."""
        return LOOPBACK if self.local and keys is None else ()

    def bound(self) -> socket.socket:
        """Return a socket that listens there; raises ConfigError where that cannot be."""
        made = None
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            # With the protocol named, asyncio turns Nagle's algorithm off; else answers wait for acknowledgements.
            made = socket.socket(found[0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(found[4])
            made.listen(1024)
        except OSError as error:
            if made is not None:
                made.close()
            raise ConfigError(
                f"{self.host}:{self.port} cannot be listened on: {error.strerror}", hint="choose another --port"
            ) from error
        return made


class Listening:
    """A service that has its socket; `run` it, or use it as a context manager for a thread of its own."""

    @classmethod
    def of(cls, provider: Provider, place: Place, keys: KeyRing | None) -> Self:
        """Listen for a provider."""
        return cls(application(provider, keys, hosts=place.hosts(keys)), place, provider.settings.limits)

    def __init__(self, app: FastAPI, place: Place, limits: ServiceLimits) -> None:
        encrypted = place.encrypted
        self._socket = place.bound()
        port = self._socket.getsockname()[1]
        host = f"[{place.host}]" if ":" in place.host else place.host
        self.url = f"{'https' if encrypted else 'http'}://{host}:{port}"
        config = uvicorn.Config(
            app,
            http=protocol(limits.head_seconds),
            ws="none",
            ssl_certfile=place.certificate,
            ssl_keyfile=place.private_key,
            limit_concurrency=limits.connections,
            timeout_keep_alive=limits.idle_seconds,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            access_log=False,  # the service writes its own, without queries
            log_config=None,
            server_header=False,
            proxy_headers=False,
        )
        try:
            config.load()
        except OSError as error:
            self._socket.close()
            raise ConfigError(f"certificate and key cannot be used: {error}", hint="both are PEM files") from error
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        """Serve until a signal ends it."""
        self._server.run(sockets=[self._socket])

    def close(self) -> None:
        """Give the address back."""
        self._socket.close()

    def __enter__(self) -> str:
        """Serve in a thread, and return the URL once it answers."""
        self._thread = threading.Thread(target=self.run, name="listening", daemon=True)
        self._thread.start()
        ends = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > ends:
                raise ToolFailed("the service did not start", hint="the log says why")
            time.sleep(0.01)
        return self.url

    def __exit__(self, *_: object) -> None:
        """End the service and wait until it has."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_GRACE_SECONDS + 5)
        self.close()


@contextlib.contextmanager
def listening(provider: Provider, place: Place | None = None, *, keys: KeyRing | None = None) -> Iterator[str]:
    """Serve a provider in a thread while the `with` lasts, and give its URL; by default on a free local port.

    with Provider("model.onnx") as provider, listening(provider) as url: ...
    """
    provider.start()
    with Listening.of(provider, place or Place(), keys) as url:
        yield url
