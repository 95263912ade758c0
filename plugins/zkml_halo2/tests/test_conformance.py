"""The kit's promises, with private and with public weights."""

from __future__ import annotations

import pytest

from balance_core.bn254 import R
from balance_core.records import Proof
from balance_core.testing import BackendConformance

from .workshop import native

pytestmark = [pytest.mark.plugin("zkml_halo2"), native]

WORD = 32
"""Bytes of a context, and of each point and scalar of halo2's part."""


class Halo2Conformance(BackendConformance):
    """Where a proof's public values stand: the context, then bytes of inputs and outputs, then halo2's words.

    The kit's models have fewer than 32 bytes of them, so they are what is left over.
    """

    backend = "zkml_halo2"
    modulus = R

    def public_values(self, proof):
        head = WORD + (len(proof.data) - WORD) % WORD
        return [int.from_bytes(proof.data[:WORD], "little"), *proof.data[WORD:head]]

    def with_public_values(self, proof, values):
        head = WORD + (len(proof.data) - WORD) % WORD
        context = (values[0] % 2**256).to_bytes(WORD, "little") if values else b""
        own = [value % 256 if value < 0 else value for value in values[1:]]
        rest = b"".join(value.to_bytes(max(1, (value.bit_length() + 7) // 8), "little") for value in own)
        return Proof(proof.backend, context + rest + proof.data[head:])


class TestPrivateWeights(Halo2Conformance):
    pass


class TestPublicWeights(Halo2Conformance):
    settings = {"weights": "public"}
