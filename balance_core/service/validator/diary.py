"""What a validator writes into its log: one event with its facts; `balance_core.service.logs` makes a line of it."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger("balance_core.service.validator")


def tell(event: str, *, level: int = logging.INFO, crash: BaseException | None = None, **facts: Any) -> None:
    """Write an event; strangers' words are among the facts, never in its name."""
    entry = {"event": f"validator: {event}", **facts}
    log.log(level, "%s %s", event, facts, extra={"entry": entry}, exc_info=crash)
