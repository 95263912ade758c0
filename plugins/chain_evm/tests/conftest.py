"""One node for all tests of this plugin, and people with money on it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from balance_evm import anvil

from balance_core.errors import ToolNotFound

from .chain_town import home, node, own_node

__all__ = ["home", "node", "own_node"]

HERE = Path(__file__).parent


@cache
def missing():
    """Say what it takes to run a local chain here, and is not there."""
    try:
        anvil.binary()
    except ToolNotFound as error:
        return f"evm: {error.message}; {error.hint}"
    return None


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.plugin("evm"))


def pytest_runtest_setup(item):
    """Skip what needs a local chain where none can be had (BALANCE_REQUIRE=evm forbids that)."""
    reason = missing() if item.path.parent == HERE else None
    if reason:
        pytest.skip(reason)
