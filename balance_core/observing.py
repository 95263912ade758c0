"""Tells a run's observers what happens; whatever an observer does, the run goes on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from balance_core import registry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from balance_core.records import Record

_LOG = logging.getLogger("balance.observers")


class Observers:
    """The installed observers (entry points: balance.observers) and those handed over by the caller."""

    def __init__(self, extra: Iterable[object] = ()) -> None:
        self._manager, broken = registry.observers()
        for name, error in broken:
            _LOG.warning("observer %s does not load: %s: %s", name, type(error).__name__, error)
        for observer in extra:
            self._manager.register(observer)

    def tell(self, hook: str, record: Record) -> None:
        """Call one hook of every observer with a frozen record."""
        parameter = {"stage_started": "stage", "stage_finished": "stage", "run_started": "run"}.get(
            hook, "receipt" if hook == "run_finished" else "failure"
        )
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            self._tell_one(hook, implementation, parameter, record)

    @staticmethod
    def _tell_one(hook: str, implementation: Any, parameter: str, record: Record) -> None:
        wanted = {parameter: record} if parameter in implementation.argnames else {}
        try:
            implementation.function(**wanted)
        except Exception:  # noqa: BLE001 - an observer cannot stop a run
            _LOG.exception("observer %s failed in %s", implementation.plugin_name, hook)
