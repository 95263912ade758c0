"""The conformance kit: what tells the author of a plugin whether it is right.

    from balance_core.testing import BackendConformance

    class TestMine(BackendConformance):
        backend = "mine"

One base class stands for each contract. The cases are its methods, and the docstring of each is the promise that it
tries. The classes need pytest (`pip install balance-core[testing]`) and are imported when they are named.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from balance_core.testing.backend import BackendConformance
    from balance_core.testing.chain import ChainConformance
    from balance_core.testing.claims import ClaimsConformance
    from balance_core.testing.converter import ConverterConformance
    from balance_core.testing.executor import ExecutorConformance
    from balance_core.testing.storage import StorageConformance
    from balance_core.testing.verifier import Evidence, VerifierConformance

_HOMES = {
    "BackendConformance": "backend",
    "ChainConformance": "chain",
    "ClaimsConformance": "claims",
    "ConverterConformance": "converter",
    "Evidence": "verifier",
    "ExecutorConformance": "executor",
    "StorageConformance": "storage",
    "VerifierConformance": "verifier",
}

__all__ = [
    "BackendConformance",
    "ChainConformance",
    "ClaimsConformance",
    "ConverterConformance",
    "Evidence",
    "ExecutorConformance",
    "StorageConformance",
    "VerifierConformance",
    "check",
]


def check(kind: str, name: str) -> int:
    """Try an installed plugin and print a line for each promise; return 0, or 3 if any was broken."""
    from balance_core.testing import checking

    return checking.check(kind, name)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
