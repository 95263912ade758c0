"""Which requests were answered lately: the same again is answered the same, and no nonce names another request."""

from __future__ import annotations

import threading
from collections import OrderedDict

from balance_core.errors import Rejected

MEMORY = 100_000
"""How many requests are remembered, at some hundreds of bytes each."""


def named_another() -> Rejected:
    """Return the refusal of a nonce that has named another request."""
    return Rejected("this nonce has named another request", hint="draw 32 fresh random bytes for each request")


class Nonces:
    """The contexts of the latest requests, with the input that each named and the id of the receipt that it got.

    What is forgotten here the database still knows: `jobs.rows.keep_receipt`.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._seen: OrderedDict[str, tuple[str, str | None]] = OrderedDict()
        self._lock = threading.Lock()

    def claim(self, context: str, input_sha256: str) -> str | None:
        """Take a context for an input, and return the id of the receipt that the same request got before.

        Raises Rejected where the context was taken for another input.
        """
        with self._lock:
            known = self._seen.get(context)
            if known is None:
                self._seen[context] = (input_sha256, None)
                if len(self._seen) > self._memory:
                    self._seen.popitem(last=False)
                return None
        if known[0] != input_sha256:
            raise named_another()
        return known[1]

    def settle(self, context: str, receipt_id: str) -> None:
        """Remember the receipt that a request got."""
        with self._lock:
            known = self._seen.get(context)
            if known is not None:
                self._seen[context] = (known[0], receipt_id)

    def release(self, context: str) -> None:
        """Forget a request that got no receipt, so that it leaves no trace."""
        with self._lock:
            known = self._seen.get(context)
            if known is not None and known[1] is None:
                del self._seen[context]
