"""What every plugin is, and how it tells what it depends on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from balance_core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

API_VERSION = 1
"""The version of all contracts. It changes when an implementation would have to."""


class Plugin(ABC):
    """What all plugins share; an instance is made with its validated settings and holds no other state."""

    api_version: ClassVar[int]
    """The version of the contracts that the plugin was written for; every plugin writes the number down itself."""
    settings_class: ClassVar[type[Settings]] = Settings
    needs_network: ClassVar[bool] = False
    """Whether its methods talk to anything outside this machine's files."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings if settings is not None else self.settings_class()

    @classmethod
    def warm_up(cls, stage: str) -> None:
        """Import what a stage will need, in a worker that still waits for its task; by default nothing."""
        del stage


@dataclass(frozen=True)
class Finding:
    """One thing that a plugin found out about what it depends on; a hint says that it is wrong, and what mends it."""

    subject: str
    found: str
    hint: str | None = None


class Diagnoses(ABC):
    """A plugin that can try what it depends on: a server, a program, a device."""

    @abstractmethod
    def diagnose(self) -> Iterable[Finding]:
        """Try everything, change nothing, and report failures as findings; raises nothing for them."""
