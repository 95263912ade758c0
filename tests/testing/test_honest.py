"""The honest mock keeps every promise."""

from __future__ import annotations

from honest import HonestBackend, HonestVerifier

from balance_core.testing import BackendConformance


class TestHonest(BackendConformance):
    backend = HonestBackend
    verifier = HonestVerifier
