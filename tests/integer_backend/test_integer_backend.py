"""The reference backend keeps every promise that the kit tries, and says that it proves nothing."""

from __future__ import annotations

from balance_core.testing import BackendConformance


class TestInteger(BackendConformance):
    backend = "integer"
