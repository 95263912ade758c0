"""A small bundle whose every part can be changed, and a verifier for it."""

from __future__ import annotations

import json

import pytest

from balance_core.bundle import Bundle
from balance_core.contracts import Verifier
from balance_core.errors import InvalidProof
from balance_core.records import (
    ModelCommitment,
    Proof,
    Registration,
    SetupTrust,
    Statement,
    Tensor,
    Trust,
    VerifyingKey,
)
from balance_core.signing import SignedRegistration, SigningKey

KEY = SigningKey.generate()
TRUST = SetupTrust(trust=Trust.TRANSPARENT)


def make(
    *, parts=None, commitment=b"weights", proof=b'{"answer": 7}', claims=None, backend="fake", key=KEY, **changes
):
    """Return a bundle whose parts fit each other, unless `changes` to the registration say otherwise."""
    verifying = VerifyingKey(backend, {"settings.json": b"{}", "vk": b"key"} if parts is None else parts)
    committed = (
        None if commitment is None else ModelCommitment(backend=backend, provider=key.public, data=commitment.hex())
    )
    values = {
        "name": "mnist",
        "backend": backend,
        "backend_version": "1",
        "circuit_id": verifying.circuit_id,
        "commitment_id": committed.commitment_id if committed else None,
        "setup_trust": TRUST,
        "provider": key.public,
    }
    signed = SignedRegistration.sign(Registration(**values | changes), key)
    return Bundle(signed, verifying, committed, Proof(backend, proof), {} if claims is None else claims)


class FakeVerifier(Verifier):
    """Takes JSON for a proof; `changes` make it lie about the statement."""

    api_version = 1

    def __init__(self, *, trust=TRUST, count=1, answer=None, **changes):
        super().__init__()
        self.trust, self.count, self.answer, self.changes = trust, count, answer, changes

    def setup_trust(self, key):
        del key
        return self.trust

    def verify(self, key, commitment, proof):
        if self.answer is not None:
            return self.answer
        try:
            number = json.loads(proof.data)["answer"]
        except (ValueError, KeyError) as error:
            raise InvalidProof("the proof does not hold") from error
        values = {
            "circuit_id": key.circuit_id,
            "commitment_id": commitment.commitment_id if commitment else None,
            "context": "00" * 32,
            "inputs": (),
            "outputs": (Tensor(name="y", shape=(), integers=(number,)),),
        }
        return (Statement(**values | self.changes),) * self.count


@pytest.fixture
def bundle():
    return make(claims={"fidelity": b'{"agreement":0.99}', "receipt": b'{"n":1}'})
