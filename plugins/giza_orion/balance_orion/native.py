"""The two native modules, imported when they are needed, with errors that say what is missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from balance_core.errors import ToolNotFound


def prover() -> Any:
    """Return the prover's module."""
    return _load("balance_orion_prover", "balance-orion[prover]")


def verifier() -> Any:
    """Return the verifier's module."""
    return _load("balance_orion_verifier", "balance-orion-verifier")


def _load(module: str, distribution: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ToolNotFound(
            f"{module} is not installed",
            hint=f"pip install '{distribution}', or build it with cargo: see the README of balance-orion",
        ) from error
    except ImportError as error:
        raise ToolNotFound(f"{module} does not run here: {error}") from error
