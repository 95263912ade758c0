"""What every request passes before anything is done for it: who asks, how often, how much; and what is told of it."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import Request  # noqa: TC002 - FastAPI reads the annotation of `check` when it runs

from balance_core.errors import BalanceError
from balance_core.service.auth import Scope
from balance_core.service.limits import Rate, Room, drain, whole_body
from balance_core.service.logs import REQUESTS
from balance_core.service.problems import HttpRefusal, described

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from balance_core.service.auth import ApiKey, KeyRing
    from balance_core.service.metrics import Metrics
    from balance_core.service.settings import ServiceLimits

    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[Any], Awaitable[None]]
    Application = Callable[[Any, Receive, Send], Awaitable[None]]

log = logging.getLogger(REQUESTS)

OPEN_PATHS = frozenset({"/v2/health/live", "/v2/health/ready"})
"""What needs no key: a load balancer has none."""
_LARGE_PATHS = frozenset({"/v1/verify"})
"""Where bundles are sent."""
_DRAIN_SECONDS = 1.0
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_HSTS = (b"strict-transport-security", b"max-age=31536000")


@dataclass(frozen=True)
class Caller:
    """Who asks: a key with its scopes, or anybody, where the service has no keys."""

    name: str
    scopes: frozenset[Scope]


def requires(scope: Scope) -> Callable[[Request], Awaitable[None]]:
    """Return the dependency of a route that only callers with this scope may use."""

    async def check(request: Request) -> None:  # FastAPI has a thread run whatever does not await
        caller: Caller = request.state.caller
        if scope not in caller.scopes:
            raise HttpRefusal(
                HTTPStatus.FORBIDDEN,
                f"this key lacks the scope {scope.value!r}",
                hint="ask the provider for a key that has it",
            )

    return check


class Gate:
    """The outermost layer of the service, as ASGI has it."""

    def __init__(
        self,
        app: Application,
        *,
        limits: ServiceLimits,
        keys: KeyRing | None,
        metrics: Metrics,
        hosts: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._limits = limits
        self._keys = keys
        self._metrics = metrics
        self._hosts = frozenset(hosts)
        self._rate = Rate(limits.requests_per_second, limits.burst)
        self._room = Room(limits.bodies_bytes)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it with what is wrong."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, _Reply(scope, send))

    async def _request(self, scope: Any, receive: Receive, reply: _Reply) -> None:
        started = time.perf_counter()
        failure: Exception | None = None
        try:
            caller = self._admitted(scope)
            scope.setdefault("state", {}).update(caller=caller, request_id=reply.request_id)
            with self._room.part() as take:
                body = await self._body(scope, receive, take)
                if body is None:
                    return
                await self._app(scope, _replayed(body, receive), reply)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the rest
            failure = error
            if not reply.started:
                await self._read_on(scope, receive, error)
                await reply.problem(error)
        finally:
            self._told(scope, reply, time.perf_counter() - started, failure)

    def _admitted(self, scope: Any) -> Caller:
        """Return who asks; raises HttpRefusal and Busy."""
        headers = dict(scope["headers"])
        if b"origin" in headers or headers.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin"}:
            raise HttpRefusal(
                HTTPStatus.FORBIDDEN, "pages of other sites may not ask", hint="ask from a program, not from a page"
            )
        host = headers.get(b"host", b"").decode("latin-1").rsplit(":", 1)[0].strip("[]")
        if self._hosts and host not in self._hosts:
            raise HttpRefusal(HTTPStatus.MISDIRECTED_REQUEST, "this host is not served here")
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise HttpRefusal(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "compressed bodies are not read", hint="send it as it is"
            )
        caller = self._caller(scope, headers)
        self._rate.take(caller.name)
        return caller

    def _caller(self, scope: Any, headers: dict[bytes, bytes]) -> Caller:
        address = scope["client"][0] if scope.get("client") else "nowhere"
        if self._keys is None:
            return Caller(f"address {address}", frozenset(Scope))
        if scope["path"] in OPEN_PATHS:
            return Caller(f"address {address}", frozenset())
        word, _, text = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        key: ApiKey | None = self._keys.check(text.strip() if word.lower() == "bearer" else "")
        if key is None:
            raise HttpRefusal(
                HTTPStatus.UNAUTHORIZED,
                "this needs a valid API key",
                hint="send it as `Authorization: Bearer balance_...`",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return Caller(f"key {key.key_id}", frozenset(key.scopes))

    async def _body(self, scope: Any, receive: Receive, take: Callable[[int], None]) -> bytes | None:
        limits = self._limits
        return await whole_body(
            receive,
            take,
            announced=dict(scope["headers"]).get(b"content-length"),
            max_bytes=limits.bundle_bytes if scope["path"] in _LARGE_PATHS else limits.body_bytes,
            seconds=limits.body_seconds,
        )

    async def _read_on(self, scope: Any, receive: Receive, error: Exception) -> None:
        """Let a client that was refused before its body was read finish what it sends, within bounds."""
        late = isinstance(error, HttpRefusal) and error.status is HTTPStatus.REQUEST_TIMEOUT
        headers = dict(scope["headers"])
        if not late and headers.keys() & {b"content-length", b"transfer-encoding"} and b"expect" not in headers:
            await drain(receive, max_bytes=4 * self._limits.body_bytes, seconds=_DRAIN_SECONDS)

    def _told(self, scope: Any, reply: _Reply, seconds: float, failure: Exception | None) -> None:
        """Count the request and write one line about it; neither holds its content, its query or its key."""
        route = getattr(scope.get("route"), "path", "other")
        status = reply.status or 499  # the client went before there was an answer
        self._metrics.request(route, scope["method"], status, seconds)
        state = scope.get("state", {})
        caller, failure = state.get("caller"), failure or state.get("failure")
        entry: dict[str, Any] = {
            "event": "request",
            "request": reply.request_id,
            "method": scope["method"][:16],
            "route": route,
            "status": status,
            "seconds": round(seconds, 6),
            "caller": caller.name if caller else "unknown",
        }
        if failure is not None:
            entry["error"] = type(failure).__name__
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and failure is not None:
            entry["message"] = failure.message if isinstance(failure, BalanceError) else str(failure)
            shown = None if isinstance(failure, BalanceError) else failure
            log.error("a request failed", extra={"entry": entry}, exc_info=shown)
        else:
            log.info("a request", extra={"entry": entry})


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return what gives the body once, and then what the client does next."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Any:
        return messages.pop() if messages else await receive()

    return replay


class _Reply:
    """The answer on its way out: every one has the same headers for safety, and the request's id."""

    def __init__(self, scope: Any, send: Send) -> None:
        self.request_id = os.urandom(8).hex()
        self.status = 0
        self._secure = scope.get("scheme") == "https"
        self._send = send

    @property
    def started(self) -> bool:
        return self.status != 0

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [*_HEADERS, (b"x-request-id", self.request_id.encode())]
            message = {**message, "headers": [*message.get("headers", ()), *own, *((_HSTS,) if self._secure else ())]}
        await self._send(message)

    async def problem(self, error: Exception) -> None:
        """Answer with what is wrong."""
        status, problem, headers = described(error)
        content = problem.model_dump_json().encode()
        fields = {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}
        encoded = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
        await self({"type": "http.response.start", "status": int(status), "headers": encoded})
        await self({"type": "http.response.body", "body": content})
