"""The kit's promises, with private and with public weights."""

from __future__ import annotations

import pytest

from balance_core.bn254 import R
from balance_core.testing import BackendConformance

from .workshop import native

pytestmark = [pytest.mark.plugin("zkml_halo2"), native]


class TestPrivateWeights(BackendConformance):
    backend = "zkml_halo2"
    modulus = R


class TestPublicWeights(BackendConformance):
    backend = "zkml_halo2"
    modulus = R
    settings = {"weights": "public"}
