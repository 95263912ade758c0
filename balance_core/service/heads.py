"""A limit to the time that a request's line and headers may take, which uvicorn does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import h11
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio


class TimedHead(H11Protocol):
    """Closes a connection that was just made, or whose request has begun, and whose headers do not end in time."""

    head_seconds: ClassVar[float] = 10.0
    _deadline: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._deadline is None:
            self._wait()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.head_seconds, self._close)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        self._deadline = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()


def protocol(head_seconds: float) -> type[TimedHead]:
    """Return the protocol with this limit."""
    return type("TimedHead", (TimedHead,), {"head_seconds": head_seconds})
