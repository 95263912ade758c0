"""The list of backends and verifiers that cheat, each in one way, and the cases of the kit that must find them out.

Every one is the honest mock with one thing done otherwise. `caught_by` names the exact set of cases that fail.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from honest import HonestBackend, HonestVerifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.contracts import Plugin

HONEST = HonestBackend.capabilities


@dataclass(frozen=True)
class Cheat:
    name: str
    caught: frozenset[str]
    backend: type[HonestBackend] = HonestBackend
    verifier: type[HonestVerifier] = HonestVerifier
    hooks: Mapping[str, Any] = field(default_factory=dict)


CHEATS: list[Cheat] = []


def caught_by(*cases: str, partner: type[Plugin] | None = None, **hooks: Any) -> Any:
    """Enter a cheating class, and the other half that it works with, into the list."""

    def enter(cheat: type[Any]) -> type[Any]:
        halves = [half for half in (cheat, partner) if half is not None]
        parts: dict[str, Any] = {
            "backend" if issubclass(half, HonestBackend) else "verifier": half for half in halves
        }
        CHEATS.append(Cheat(cheat.__name__, frozenset(cases), hooks=hooks, **parts))
        return cheat

    return enter
