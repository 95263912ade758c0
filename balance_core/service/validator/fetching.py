"""Fetching a stranger's content into a file: so many bytes, so many seconds, and no thread that waits for ever."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from balance_core.cid import CHUNK_BYTES
from balance_core.errors import ContentTooLarge, StageTimeout, StorageUnreachable

if TYPE_CHECKING:
    from pathlib import Path

    from balance_core.contracts import Storage


class Fetcher:
    """Reads from a storage that is slow, lies about sizes or does not answer, as any of them may."""

    def __init__(self, storage: Storage, *, max_bytes: int, seconds: float, most_stuck: int) -> None:
        self._storage = storage
        self._max_bytes, self._seconds, self._most_stuck = max_bytes, seconds, most_stuck
        self._lock = threading.Lock()
        self._stuck = 0

    @property
    def stuck(self) -> int:
        """How many fetches were given up and have not come back yet."""
        with self._lock:
            return self._stuck

    def fetch(self, address: str, target: Path) -> int:
        """Write the content to a file and return its size.

        Raises the storage's errors, ContentTooLarge, and StageTimeout when the time is over. A storage that does not
        even come back then is left behind in its thread; beyond a number of those nothing is begun any more.
        """
        if self.stuck >= self._most_stuck:
            raise StorageUnreachable(
                f"{self.stuck} fetches have not come back from the storage",
                hint="the storage plugin waits without a limit of its own: look at its server",
            )
        fetch = _Fetch(self._storage, address, target, self._max_bytes, time.monotonic() + self._seconds)
        fetch.start()
        fetch.join(self._seconds)
        if fetch.is_alive():
            fetch.join(min(1.0, self._seconds))  # it looks at the clock itself after every piece
        if fetch.is_alive():
            with self._lock:
                self._stuck += 1
            threading.Thread(target=self._await, args=(fetch,), daemon=True).start()
            raise _too_slow(address, self._seconds)
        if fetch.error is not None:
            raise fetch.error
        if fetch.late:
            raise _too_slow(address, self._seconds)
        return fetch.size

    def _await(self, fetch: _Fetch) -> None:
        fetch.join()
        with self._lock:
            self._stuck -= 1


class _Fetch(threading.Thread):
    """One fetch; a daemon, so that one that never ends does not keep the process."""

    def __init__(self, storage: Storage, address: str, target: Path, max_bytes: int, deadline: float) -> None:
        super().__init__(name=f"fetch-{address[-8:]}", daemon=True)
        self._storage, self._address, self._target = storage, address, target
        self._max_bytes, self._deadline = max_bytes, deadline
        self.size = 0
        self.late = False
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with (
                self._storage.open(self._address, max_size=self._max_bytes) as source,
                self._target.open("wb") as target,
            ):
                while (piece := source.read(CHUNK_BYTES)) and self._goes_on(len(piece)):
                    target.write(piece)
        except BaseException as error:  # noqa: BLE001 - it is raised again by whoever waits for this thread
            self.error = error

    def _goes_on(self, size: int) -> bool:
        """Count a piece; raises ContentTooLarge. False when the time is over."""
        self.size += size
        if self.size > self._max_bytes:
            raise ContentTooLarge(f"{self._address} has more than the {self._max_bytes} bytes allowed")
        self.late = time.monotonic() > self._deadline
        return not self.late


def _too_slow(address: str, seconds: float) -> StageTimeout:
    return StageTimeout(f"{address} did not arrive within {seconds:g} s", hint="raise fetch_seconds")
