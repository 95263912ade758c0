"""What a client may take up: rates by token buckets, bodies by size and time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from balance_core.errors import Busy
from balance_core.service.problems import HttpRefusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

_CLIENTS = 10_000
"""How many clients' rates are remembered; one that was forgotten starts with a full bucket."""


class Rate:
    """A token bucket for each client: so many requests a second, and so many at once."""

    def __init__(self, per_second: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, client: str) -> None:
        """Count a request; raises Busy where there were too many, with the time after which to ask again."""
        with self._lock:
            moment = self._clock()
            level, then = self._buckets.pop(client, (float(self._burst), moment))
            level = min(level + (moment - then) * self._per_second, float(self._burst))
            allowed = level >= 1
            self._buckets[client] = (level - 1 if allowed else level, moment)
            if len(self._buckets) > _CLIENTS:
                self._buckets.popitem(last=False)
        if not allowed:
            raise Busy("these are more requests than one client may send", retry_after=(1 - level) / self._per_second)


class Room:
    """How many bytes of bodies a service holds at a time, all requests together; used by one event loop."""

    def __init__(self, most: int) -> None:
        self._free = most

    @contextlib.contextmanager
    def part(self) -> Iterator[Callable[[int], None]]:
        """Lend what takes bytes for one request, until it has been answered; raises Busy where none are left."""
        held = 0

        def take(size: int) -> None:
            nonlocal held
            if size > self._free:
                raise Busy("the service holds as many bytes of requests as it may", retry_after=1.0)
            self._free -= size
            held += size

        try:
            yield take
        finally:
            self._free += held


async def whole_body(
    receive: Callable[[], Awaitable[Any]],
    take: Callable[[int], None],
    *,
    announced: bytes | None,
    max_bytes: int,
    seconds: float,
) -> bytes | None:
    """Read a request's body before anything is done with it; None where the client has gone.

    Raises HttpRefusal for one that is larger than allowed, or not there in time, and Busy where there is no room.
    """
    if announced is not None and (not announced.isdigit() or int(announced[:20]) > max_bytes):
        raise _too_large(max_bytes)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                part = message.get("body", b"")
                size += len(part)
                if size > max_bytes:
                    raise _too_large(max_bytes)
                take(len(part))
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise HttpRefusal(
            HTTPStatus.REQUEST_TIMEOUT,
            f"the body was not there after {seconds:g} s",
            hint="send it faster, or less of it",
            headers={"Connection": "close"},
        ) from None


async def drain(receive: Callable[[], Awaitable[Any]], *, max_bytes: int, seconds: float) -> None:
    """Read what else a refused client sends, for a while: one that is cut off while it sends misses the answer."""
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while size <= max_bytes:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return


def _too_large(max_bytes: int) -> HttpRefusal:
    return HttpRefusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"a body has at most {max_bytes} bytes here",
        hint="send binary tensors, or smaller ones",
        headers={"Connection": "close"},
    )
