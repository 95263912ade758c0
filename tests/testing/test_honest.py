"""The honest mocks keep every promise."""

from __future__ import annotations

from cheating_others import HonestConverter
from honest import HonestBackend, HonestVerifier
from honest_chain import HonestChain
from honest_storage import HonestStorage
from honest_variants import (
    CommittingBackend,
    CommittingVerifier,
    HidingBackend,
    HidingVerifier,
    UnboundBackend,
)

from balance_core.testing import BackendConformance, ChainConformance, ConverterConformance, StorageConformance


class TestHonest(BackendConformance):
    backend = HonestBackend
    verifier = HonestVerifier


class TestCommitting(BackendConformance):
    backend = CommittingBackend
    verifier = CommittingVerifier


class TestHiding(BackendConformance):
    backend = HidingBackend
    verifier = HidingVerifier
    private_settings = {"hide": True}


class TestUnbound(BackendConformance):
    backend = UnboundBackend
    verifier = HonestVerifier


class TestHonestStorage(StorageConformance):
    storage = HonestStorage


class TestHonestChain(ChainConformance):
    chain = HonestChain


class TestHonestConverter(ConverterConformance):
    converter = HonestConverter

    def examples(self):
        return {"a.scale": b"scale 3", "b.scale": b"scale 12\n"}
