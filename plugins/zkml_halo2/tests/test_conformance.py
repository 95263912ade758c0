"""The kit's promises, with private and with public weights, with public and with private inputs."""

from __future__ import annotations

import pytest

from balance_core.bn254 import R
from balance_core.records import Proof
from balance_core.testing import BackendConformance

from .workshop import native

pytestmark = [pytest.mark.plugin("zkml_halo2"), native]

WORD = 32
"""Bytes of a context, and of each point and scalar."""
LANES_AT = 12
"""Where a key says how many lanes its circuit has."""


class Halo2Conformance(BackendConformance):
    """Where a proof's public values stand: the context, then bytes of inputs and outputs, then halo2's words.

    The kit's models have fewer than 32 bytes of them, so they are what is left over. Private inputs have a point for
    each lane in their place.
    """

    backend = "zkml_halo2"
    modulus = R
    points = 0

    @pytest.fixture(autouse=True)
    def _count_points(self, evidence):
        if self.promises().private_input:
            type(self).points = evidence.valid.key.parts["key"][LANES_AT]

    def places(self, proof):
        start = WORD + WORD * self.points
        return start, start + (len(proof.data) - WORD) % WORD

    def public_values(self, proof):
        start, end = self.places(proof)
        return [int.from_bytes(proof.data[:WORD], "little"), *proof.data[start:end]]

    def with_public_values(self, proof, values):
        start, end = self.places(proof)
        context = (values[0] % 2**256).to_bytes(WORD, "little") if values else b""
        own = [value % 256 if value < 0 else value for value in values[1:]]
        rest = b"".join(value.to_bytes(max(1, (value.bit_length() + 7) // 8), "little") for value in own)
        return Proof(proof.backend, context + proof.data[WORD:start] + rest + proof.data[end:])


class TestPrivateWeights(Halo2Conformance):
    private_settings = {"inputs": "private"}


class TestPublicWeights(Halo2Conformance):
    settings = {"weights": "public"}
    private_settings = {"weights": "public", "inputs": "private"}


class TestPrivateInputs(Halo2Conformance):
    settings = {"inputs": "private"}
    private_settings = {"inputs": "private"}


class TestPrivateInputsAndPublicWeights(Halo2Conformance):
    settings = {"weights": "public", "inputs": "private"}
    private_settings = {"weights": "public", "inputs": "private"}
