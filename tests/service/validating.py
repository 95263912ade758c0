"""A chain with proofs of the reference backend on it, and with everything that strangers put there instead."""

from __future__ import annotations

import hashlib
import io
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from balance_core import cid, provider, registry
from balance_core.builtin.integer_verifier import (
    WEIGHTS_PART,
    Answer,
    IntegerVerifier,
    ReExecution,
    read_model,
    seal,
)
from balance_core.builtin.ledger import Ledger, LedgerSettings
from balance_core.bundle import Bundle
from balance_core.chain import Attestation, ProofRecord, Revocation
from balance_core.integer.executor import execute_integers
from balance_core.integer.interface import STRUCTURE_PART, read_interface
from balance_core.keys import KeyStore
from balance_core.records import Proof, Registration, SetupTrust, Trust, VerifyingKey
from balance_core.service.validator import Course, Validator, ValidatorSettings
from balance_core.signing import SignedRegistration
from balance_core.testing import models
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

QUICK = {
    "poll_seconds": 0.05,
    "retry_seconds": 0.05,
    "tries": 3,
    "unsound": Course.ATTEST,
    "max_bundle_bytes": 2**18,
    "fetch_seconds": 5.0,
}
"""Settings under which the reference backend's proofs are attested, and nothing is waited for."""


@cache
def verifying_key(home):
    """Make a tiny model's circuit in a data folder, once, and return its key."""
    del home
    model = models.mlp(seed=1)
    samples = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    run = provider.run(model, samples, backend="integer", chain=None, storage=None, name="tiny")
    return Bundle.read(run.folder / "proof.balance").key


class Yard:
    """One ledger and one storage, a provider, and what it publishes."""

    def __init__(self, home: Path, *, provider_name: str = "provider", key: VerifyingKey | None = None) -> None:
        self.home = home
        self.keys = KeyStore(Workspace(home).keys)
        self.key = key or verifying_key(home)
        self.storage = registry.create("storage", "local")
        self.provider = self.person(provider_name)
        self.ledger = self.as_somebody(provider_name)
        self.calls = 0

    def person(self, name):
        return self.keys.load(name) if name in self.keys.names() else self.keys.create(name)

    def as_somebody(self, name):
        self.person(name)
        return Ledger(LedgerSettings(key=name))

    def beside(self, name):
        """Return another provider on the same chain."""
        return Yard(self.home, provider_name=name, key=self.key)

    def register(self, name="tiny", **changes):
        values = {
            "name": name,
            "backend": "integer",
            "backend_version": "2",
            "circuit_id": self.key.circuit_id,
            "setup_trust": SetupTrust(trust=Trust.TRANSPARENT),
            "provider": self.provider.public,
        }
        registration = Registration(**{**values, **changes})
        self.ledger.register(registration, key=f"register/{registration.registration_id}")
        return registration

    def revoke(self, registration):
        self.ledger.revoke(Revocation(registration_id=registration.registration_id, reason="wrong"), key="revoke")

    def context(self):
        self.calls += 1
        return hashlib.sha256(f"{self.provider.public}/{self.calls}".encode()).hexdigest()

    def bundle(self, registration, *, context=None, lie=False):
        """Return a bundle and the statement that it proves; with `lie`, one whose output is not the model's."""
        parts = self.key.parts
        model = read_model(parts[STRUCTURE_PART], parts[WEIGHTS_PART])
        inputs = tuple(tuple([0] * int(np.prod(op.to))) for _, op in model.inputs)
        arrays = {
            op.label: np.array(values, dtype=np.int64).reshape(1, *op.to)
            for values, (_, op) in zip(inputs, model.inputs, strict=True)
        }
        found = execute_integers(model, arrays).outputs
        outputs = tuple(tuple(found[output.name].reshape(-1).tolist()) for output in model.outputs)
        context = context or self.context()
        honest = Answer(context=context, inputs=inputs, outputs=outputs)
        interface = read_interface(parts[STRUCTURE_PART])
        if lie:
            low = interface.outputs[0].lo
            wrong = outputs[0][0] - 1 if outputs[0][0] > low else outputs[0][0] + 1
            honest = honest.model_copy(update={"outputs": ((wrong, *outputs[0][1:]), *outputs[1:])})
        sealed = ReExecution(answers=(honest,), seal=seal(self.key.circuit_id, (honest,)))
        signed = SignedRegistration.sign(registration, self.provider)
        made = Bundle(signed, self.key, None, Proof("integer", sealed.to_json()))
        statement = interface.statement(self.key.circuit_id, bytes.fromhex(context), honest.inputs, honest.outputs)
        return made, statement

    def publish(self, registration, *, lie=False, content=None, address=None):
        """Put a proof onto the chain, and its bundle (or other content, or nothing) into the storage."""
        made, statement = self.bundle(registration, lie=lie)
        if address is None:
            address = self.storage.put(io.BytesIO(made.to_bytes() if content is None else content))
        return self.submit(registration, statement, address)

    def submit(self, registration, statement, address):
        record = ProofRecord(
            registration_id=registration.registration_id,
            context=statement.context,
            inputs_digest=statement.inputs_digest,
            statement_digest=statement.digest,
            bundle=address,
        )
        self.ledger.submit(record, key=f"submit/{record.proof_id}")
        return record

    def junk(self, registration, number, kind):
        """Put junk of a kind onto the chain, cheaply."""
        record = ProofRecord(
            registration_id=registration.registration_id,
            context=hashlib.sha256(b"junk %d" % number).hexdigest(),
            inputs_digest="a1" * 32,
            statement_digest="b1" * 32,
            bundle=self.content(number, kind),
        )
        self.ledger.submit(record, key=f"junk/{number}")
        return record

    def content(self, number, kind):
        if kind == "unavailable":
            return cid.of_bytes(b"nobody has this %d" % number)
        made = {
            "huge": lambda: bytes(QUICK["max_bundle_bytes"] + 1),
            "malformed": lambda: b"this is no bundle %d" % (number % 50),
            "cut": lambda: self._sample(registration=None)[: 300 + number % 50],
        }[kind]()
        return self.storage.put(io.BytesIO(made))

    @cache  # noqa: B019 - a yard lives as long as its test
    def _sample(self, registration):
        del registration
        registration = Registration(
            name="sample",
            backend="integer",
            backend_version="2",
            circuit_id=self.key.circuit_id,
            setup_trust=SetupTrust(trust=Trust.TRANSPARENT),
            provider=self.provider.public,
        )
        return self.bundle(registration)[0].to_bytes()

    def validator(self, name="validator", *, memory=None, **changes):
        self.person(name)
        settings = ValidatorSettings(**{**QUICK, **changes})
        memory = memory or self.home / f"{name}.db"
        return Validator("ledger", chain_settings={"key": name}, settings=settings, memory=memory)

    def run(self, name="validator", **changes):
        """Let a validator work until nothing is left, and return how it stands then."""
        with self.validator(name, **changes) as validator:
            return validator.run(until_done=True)

    def words(self, record=None):
        """Return all words on the chain: proof, validator and verdict."""
        found = [Attestation.from_value(event.record) for event in self.ledger.events() if event.type == "attested"]
        return [
            (one.proof_id, one.validator, one.valid)
            for one in found
            if record is None or one.proof_id == record.proof_id
        ]

    def verified(self, made):
        return IntegerVerifier().verify(made.key, None, made.proof)
