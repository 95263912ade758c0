"""What was deployed from this data folder, chain by chain: a convenience, which nothing relies on unchecked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from balance_core.errors import ConfigError
from balance_core.files import locked, read_limited, write_whole

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

_MAX_BYTES = 2**20


class VerifierPair(BaseModel):
    """A proof system's contract, and the registry's adapter that calls it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contract: str
    adapter: str
    version: str


class Deployments(BaseModel):
    """The contracts on one chain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    registry: str | None = None
    from_block: int = 0
    verifiers: dict[str, VerifierPair] = {}
    """By the SHA-256 of the contract's source."""


class DeploymentFile:
    """The file of one chain; processes that deploy at the same time do so one after the other."""

    def __init__(self, folder: Path, instance: str) -> None:
        self.path = folder / f"{instance}.json"

    def read(self) -> Deployments:
        """Return what is known; raises ConfigError for a damaged file."""
        if not self.path.exists():
            return Deployments()
        try:
            return Deployments.model_validate(
                json.loads(read_limited(self.path, max_size=_MAX_BYTES, what="deployments"))
            )
        except (ValueError, ValidationError) as error:
            raise ConfigError(
                f"{str(self.path)!r} is damaged", hint="remove it, and deploy again or name the registry"
            ) from error

    def write(self, found: Deployments) -> None:
        """Replace the file."""
        write_whole(self.path, (found.model_dump_json(indent=2) + "\n").encode())

    def deploying(self) -> AbstractContextManager[bool]:
        """Hold the right to deploy."""
        return locked(self.path.with_suffix(".lock"))
