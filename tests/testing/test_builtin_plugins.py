"""The plugins of the core keep their contracts."""

from __future__ import annotations

from balance_core.testing import ChainConformance, ExecutorConformance, StorageConformance


class TestLocalStorage(StorageConformance):
    storage = "local"


class TestLedger(ChainConformance):
    chain = "ledger"


class TestLocalExecutor(ExecutorConformance):
    executor = "local"
