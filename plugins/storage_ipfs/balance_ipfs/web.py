"""Calls over HTTP that end: with an answer, or with a typed error that says what to do.

Nothing is decompressed, no redirect is followed unless allowed, no proxy and no password is taken from the user's
surroundings, and every answer has a limit in bytes and in time, however it trickles in.
"""

from __future__ import annotations

import contextlib
import random
import ssl
import threading
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import httpcore
import httpx

from balance_core.errors import ConfigError, StorageError, StorageUnreachable
from balance_ipfs.transport import Clock, Transport

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_CONNECT_SECONDS = 10.0
_FIRST_WAIT = 0.1
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MAX_REDIRECTS = 5
_BUSY = frozenset((429, 502, 503, 504))
"""Answers that mean: later."""
_MAX_WORDS = 300


class BrokeOff(StorageUnreachable):
    """The connection was refused or broke: another attempt may do."""


@dataclass(frozen=True)
class Call:
    """One request: what to ask whom, and how much answer to take."""

    who: str
    """The server, as an error names it."""
    method: str
    url: str
    seconds: float
    """To wait for the answer to begin, and for each part of it."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    hint: str | None = None
    """What to do when it does not answer."""


class Answer:
    """An answer whose body is taken piece by piece."""

    def __init__(self, call: Call, response: httpx.Response, clock: Clock) -> None:
        self.status = response.status_code
        self.kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._call = call
        self._response = response
        self._clock = clock
        self._chunks = response.iter_raw()
        self._rest = memoryview(b"")

    def take(self, size: int) -> bytes:
        """Return exactly as many bytes of the body, or fewer at its end."""
        if size <= len(self._rest):
            taken = bytes(self._rest[:size])
            self._rest = self._rest[size:]
            return taken
        with explained(self._call), self._clock.limit(self._call.seconds):
            return b"".join(self._pieces(size))

    def _pieces(self, size: int) -> Iterator[memoryview]:
        """Yield what came already and then what comes, and keep what is too much; nothing is copied."""
        while True:
            piece = self._rest[:size]
            self._rest = self._rest[size:]
            size -= len(piece)
            yield piece
            if not size:
                return
            self._rest = memoryview(next(self._chunks, b""))
            if not self._rest:
                return

    def all(self, *, limit: int) -> bytes:
        """Return the whole body; raises StorageError if it has more bytes than the limit."""
        body = self.take(limit + 1)
        if len(body) > limit:
            raise StorageError(f"{self._call.who} sends more than the {limit} bytes that were asked for")
        return body

    def words(self) -> str:
        """Return the beginning of a body that a person should read, on one line and without control characters."""
        with contextlib.suppress(StorageError):
            text = self.take(4 * _MAX_WORDS).decode(errors="replace")
            return plain(text)
        return ""

    def close(self) -> None:
        """Give the connection back, or close it if something is left on it."""
        self._response.close()


def plain(text: str) -> str:
    """Return what a server said, fit for one line of a terminal."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:_MAX_WORDS]


class Web:
    """One client for all servers."""

    def __init__(self, *, retries: int, ca_file: Path | None, allow_redirects: bool) -> None:
        self._retries = retries
        self._ca_file = ca_file
        self._allow_redirects = allow_redirects
        self._clock = Clock()
        self._lock = threading.Lock()
        self._made: httpx.Client | None = None

    def _client(self) -> httpx.Client:
        with self._lock:
            if self._made is None:
                # What `trust_env` would bring: a proxy that sees the node's RPC, and passwords out of .netrc.
                self._made = httpx.Client(
                    transport=Transport(self._certificates(), self._clock),
                    trust_env=False,
                    follow_redirects=False,
                    headers={"user-agent": "balance-ipfs", "accept-encoding": "identity"},
                )
                weakref.finalize(self, self._made.close)
            return self._made

    def _certificates(self) -> ssl.SSLContext:
        if self._ca_file is None:
            return httpx.create_ssl_context(trust_env=False)
        try:
            return ssl.create_default_context(cafile=str(self._ca_file))
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"the certificates in {str(self._ca_file)!r} cannot be read: {error}",
                hint="-o storage.ca_file=PATH names a file in PEM form",
            ) from error

    def read(self, call: Call, *, limit: int) -> tuple[Answer, bytes]:
        """Make a call that may be made twice, and return its answer with the whole body."""
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            try:
                with self.ask(call) as answer:
                    if answer.status not in _BUSY or last:
                        return answer, answer.all(limit=limit)
            except BrokeOff:
                if last:
                    raise
            time.sleep(_FIRST_WAIT * 3**attempt * random.uniform(0.7, 1.3))  # noqa: S311 - nobody gains by guessing it
        raise AssertionError  # the last attempt returns or raises

    @contextlib.contextmanager
    def ask(self, call: Call, body: Iterable[bytes] | None = None) -> Iterator[Answer]:
        """Make a call once and lend its answer."""
        answer = Answer(call, self._send(call, body), self._clock)
        try:
            yield answer
        finally:
            answer.close()

    @contextlib.contextmanager
    def handed_over(self, call: Call) -> Iterator[Answer]:
        """Make a call once and hand over its answer: with status 200 the caller closes it, unless an error comes."""
        answer = Answer(call, self._send(call, None), self._clock)
        try:
            yield answer
        except BaseException:
            answer.close()
            raise
        if answer.status != 200:
            answer.close()

    def _send(self, call: Call, body: Iterable[bytes] | None) -> httpx.Response:
        client = self._client()
        url = call.url
        for _ in range(_MAX_REDIRECTS + 1):
            with explained(call), self._clock.limit(call.seconds):
                request = client.build_request(
                    call.method,
                    url,
                    params=dict(call.parameters) if url == call.url else None,
                    headers=dict(call.headers),
                    content=body,
                    timeout=httpx.Timeout(call.seconds, connect=min(call.seconds, _CONNECT_SECONDS)),
                )
                response = client.send(request, stream=True)
            if response.status_code not in _REDIRECTS:
                return _undisguised(call, response)
            response.close()
            url = self._elsewhere(call, url, response.headers.get("location", ""))
        raise StorageUnreachable(f"{call.who} sends readers in circles", hint=call.hint)

    def _elsewhere(self, call: Call, url: str, location: str) -> str:
        """Return where a redirect leads, if it may be followed."""
        try:
            target = urljoin(url, location)
            parts = urlsplit(target)
            host = parts.hostname
        except ValueError:
            target, host, parts = "", None, urlsplit("")
        if not self._allow_redirects or call.method != "GET":
            raise StorageUnreachable(
                f"{call.who} sends readers elsewhere: to {plain(host or 'nowhere')}",
                hint="give that address itself, or allow it for gateways: -o storage.allow_redirects=true",
            )
        downgraded = urlsplit(url).scheme == "https" and parts.scheme != "https"
        if not location or not host or parts.scheme not in ("http", "https") or downgraded or parts.username:
            raise StorageUnreachable(f"{call.who} sends readers where nobody should go", hint=call.hint)
        return target


def _undisguised(call: Call, response: httpx.Response) -> httpx.Response:
    """Refuse a body that was compressed unasked: unpacking it would have no limit."""
    if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        response.close()
        raise StorageError(f"{call.who} compresses what was asked for as it is", hint="use another gateway")
    return response


@contextlib.contextmanager
def explained(call: Call) -> Iterator[None]:
    """Turn the client's errors into typed ones with a hint."""
    try:
        yield
    except httpcore.ConnectError as error:
        raise _unconnected(call, error) from error
    except httpcore.TimeoutException as error:
        what = "take what is sent" if isinstance(error, httpcore.WriteTimeout) else "answer"
        raise StorageUnreachable(
            f"{call.who} did not {what} within {call.seconds:g} s",
            hint=call.hint or "wait longer with -o storage.timeout=SECONDS",
        ) from error
    except (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise StorageError(f"{call.who} cannot be asked: {plain(str(error))}", hint=call.hint) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpx.HTTPError, httpx.StreamError, OSError) as error:
        raise BrokeOff(f"the connection to {call.who} broke off: {_reason(error)}", hint=call.hint) from error


def _unconnected(call: Call, error: httpcore.ConnectError) -> StorageUnreachable:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return StorageUnreachable(
            f"the certificate of {call.who} cannot be trusted: {cause.verify_message}",
            hint="check the address; a certificate of your own goes into -o storage.ca_file=PATH",
        )
    if cause is not None:
        return StorageUnreachable(
            f"{call.who} does not speak TLS as it should: {_reason(cause)}", hint="check the address and its port"
        )
    return BrokeOff(f"{call.who} cannot be reached: {_reason(error)}", hint=call.hint)


def _reason(error: Any) -> str:
    return plain(str(error) or type(error).__name__)
