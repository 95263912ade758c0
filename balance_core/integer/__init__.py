"""The integer model: what every prover proves, every validator recomputes and the executor computes, bit for bit.

`docs/integer-model.md` is its specification. This module imports nothing heavy; names are loaded when asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from balance_core.integer.calibration import Calibration, calibrate, lower, replay
    from balance_core.integer.encoding import dumps, loads
    from balance_core.integer.executor import Execution, execute, execute_integers
    from balance_core.integer.model import IntegerModel, Node, Output
    from balance_core.integer.recipe import Recipe
    from balance_core.integer.report import IntegerReport
    from balance_core.integer.settings import IntegerSettings

_HOMES = {
    "Calibration": "calibration",
    "Execution": "executor",
    "IntegerModel": "model",
    "IntegerReport": "report",
    "IntegerSettings": "settings",
    "Node": "model",
    "Output": "model",
    "Recipe": "recipe",
    "calibrate": "calibration",
    "dumps": "encoding",
    "execute": "executor",
    "execute_integers": "executor",
    "loads": "encoding",
    "lower": "calibration",
    "replay": "calibration",
}

__all__ = [
    "Calibration",
    "Execution",
    "IntegerModel",
    "IntegerReport",
    "IntegerSettings",
    "Node",
    "Output",
    "Recipe",
    "calibrate",
    "dumps",
    "execute",
    "execute_integers",
    "loads",
    "lower",
    "replay",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
