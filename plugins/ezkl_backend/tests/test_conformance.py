"""The kit's promises, tried on ezkl; what is particular to ezkl is tried in the other files."""

from __future__ import annotations

from balance_ezkl import container

from balance_core.bn254 import R
from balance_core.records import Proof
from balance_core.testing import BackendConformance


class TestEzkl(BackendConformance):
    backend = "ezkl"
    modulus = R

    def public_values(self, proof):
        count = int.from_bytes(proof.data[8:12], "big")
        return list(container.decode(proof.data, instances=count).instances)

    def with_public_values(self, proof, values):
        count = int.from_bytes(proof.data[8:12], "big")
        own = container.decode(proof.data, instances=count)
        head = container.MAGIC + len(values).to_bytes(4, "big") + len(own.proof).to_bytes(4, "big")
        body = b"".join((value % 2**256).to_bytes(32, "big") for value in values)
        return Proof(proof.backend, head + body + own.proof)
