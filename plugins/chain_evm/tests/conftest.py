"""One node for all tests of this plugin, and people with money on it."""

from __future__ import annotations

from .chain_town import node

__all__ = ["node"]
