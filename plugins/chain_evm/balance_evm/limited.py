"""A connection that reads no more than it should: a node may answer without end, or a byte at a time."""

from __future__ import annotations

import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter

_PIECE_BYTES = 2**16


class _Limited(HTTPAdapter):
    """Reads an answer whole, up to limits of size and time."""

    def __init__(self, max_bytes: int, seconds: float) -> None:
        super().__init__()
        self._max_bytes, self._seconds = max_bytes, seconds

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send and read; raises ConnectionError for an answer beyond a limit."""
        del args
        deadline = time.monotonic() + self._seconds
        response = super().send(request, **{**options, "stream": True})
        data = bytearray()
        for piece in response.iter_content(_PIECE_BYTES):
            data += piece
            if len(data) > self._max_bytes or time.monotonic() > deadline:
                response.close()
                raise requests.exceptions.ConnectionError("the answer is too long")
        response._content = bytes(data)  # noqa: SLF001 - where the library keeps what it has read itself
        return response


def session(*, max_bytes: int, seconds: float) -> requests.Session:
    """Return a session with these limits."""
    made = requests.Session()
    for scheme in ("http://", "https://"):
        made.mount(scheme, _Limited(max_bytes, seconds))
    return made
