"""Logs for machines: one JSON object a line, and never a key, a query or an input."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from typing_extensions import override

REQUESTS = "balance.service"
"""The logger with one entry for each request."""


class JsonLines(logging.Formatter):
    """Writes what a record carries as `entry`, or else its message, with time and level."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line = {"time": f"{moment:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z", "level": record.levelname.lower()}
        entry = getattr(record, "entry", None)
        line |= entry if isinstance(entry, dict) else {"event": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class StandardError(logging.StreamHandler[TextIO]):
    """Writes to standard error as it is at that moment: whoever redirects it gets what is logged afterwards."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        if self.stream is not None and not self.stream.closed:
            super().emit(record)


def write_logs(level: int = logging.INFO) -> None:
    """Have this process write its logs to standard error; only warnings of what others log."""
    handler = StandardError()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(REQUESTS).setLevel(level)
    logging.getLogger("balance_core").setLevel(level)
