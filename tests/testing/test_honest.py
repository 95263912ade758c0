"""The honest mocks keep every promise."""

from __future__ import annotations

from honest import HonestBackend, HonestVerifier
from honest_chain import HonestChain
from honest_storage import HonestStorage

from balance_core.testing import BackendConformance, ChainConformance, StorageConformance


class TestHonest(BackendConformance):
    backend = HonestBackend
    verifier = HonestVerifier


class TestHonestStorage(StorageConformance):
    storage = HonestStorage


class TestHonestChain(ChainConformance):
    chain = HonestChain
