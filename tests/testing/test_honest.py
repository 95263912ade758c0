"""The honest mocks keep every promise."""

from __future__ import annotations

from honest import HonestBackend, HonestVerifier
from honest_storage import HonestStorage

from balance_core.testing import BackendConformance, StorageConformance


class TestHonest(BackendConformance):
    backend = HonestBackend
    verifier = HonestVerifier


class TestHonestStorage(StorageConformance):
    storage = HonestStorage
