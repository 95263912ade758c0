"""The kit's promises, kept with the real prover; its models are a few neurons each."""

from __future__ import annotations

from balance_core.testing import BackendConformance


class TestOrion(BackendConformance):
    """Every case of the kit."""

    backend = "giza_orion"
    settings = {"bits": 10}
    tolerance = 0.05
