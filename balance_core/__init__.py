"""Balance: prove that an answer came from the model that was registered, and let anyone verify it.

    import balance_core as balance

    run = balance.run("model.onnx", x, backend="ezkl")
    run.statement.outputs

Names are imported when they are used, so that a worker or the command line loads only what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from balance_core.bundle import Bundle
    from balance_core.consumer import inspect, read_bundle, reproduce, verify, write_bundle
    from balance_core.errors import BalanceError, InvalidProof
    from balance_core.model import Model
    from balance_core.provider import check, convert, execute, prove, run, setup
    from balance_core.session import Run
    from balance_core.stages import Limits

__all__ = [
    "BalanceError",
    "Bundle",
    "InvalidProof",
    "Limits",
    "Model",
    "Run",
    "check",
    "convert",
    "execute",
    "inspect",
    "prove",
    "read_bundle",
    "reproduce",
    "run",
    "setup",
    "verify",
    "write_bundle",
]

_HOMES = {
    "balance_core.bundle": ("Bundle",),
    "balance_core.consumer": ("inspect", "read_bundle", "reproduce", "verify", "write_bundle"),
    "balance_core.errors": ("BalanceError", "InvalidProof"),
    "balance_core.model": ("Model",),
    "balance_core.provider": ("check", "convert", "execute", "prove", "run", "setup"),
    "balance_core.session": ("Run",),
    "balance_core.stages": ("Limits",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
