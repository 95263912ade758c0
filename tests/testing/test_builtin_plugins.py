"""The plugins of the core keep their contracts."""

from __future__ import annotations

import pytest

from balance_core.builtin.ledger import Ledger
from balance_core.testing import ClaimsConformance, ExecutorConformance, StorageConformance


class TestLocalStorage(StorageConformance):
    storage = "local"


class TestLedger(ClaimsConformance):
    chain = "ledger"
    window = 1000

    @pytest.fixture(autouse=True)
    def clock(self, monkeypatch):
        """The ledger's clock, which the cases set forward."""
        type(self).now = 1_800_000_000
        monkeypatch.setattr(Ledger, "clock", staticmethod(lambda: type(self).now))

    @classmethod
    def pass_time(cls, town, seconds):
        del town
        cls.now += seconds


class TestLocalExecutor(ExecutorConformance):
    executor = "local"
