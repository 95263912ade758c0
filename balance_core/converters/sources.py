"""The file that a converter is given: read whole, within a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def read_bytes(source: Path, limit: int, hint: str | None = None) -> bytes:
    """Return the content of a file of at most `limit` bytes; raises ConfigError."""
    try:
        with source.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigError(f"cannot read the model {source}: {reason}", hint=hint) from error
    if len(data) > limit:
        raise ConfigError(f"{source.name} has more than the {limit} bytes of the largest model taken", hint=hint)
    return data
