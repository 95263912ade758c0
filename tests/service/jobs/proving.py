"""A registered model of a few neurons, and receipts that its answers get: what tests of proving begin with."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import numpy as np

import balance_core
from balance_core import registry
from balance_core.keys import KeyStore
from balance_core.service.jobs import JobQueue, Order, Prover, Terms
from balance_core.service.receipts import AnswerReceipt, context_of, job_id_of, now, request_sha256, sign_receipt
from balance_core.testing import models
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from balance_core.registering import Registered
    from balance_core.runs import Execution
    from balance_core.service.receipts import SignedReceipt


class Desk:
    """A provider's desk without its door: it answers inputs that were worked out before, and signs."""

    def __init__(self, count: int = 8, backend: str = "integer") -> None:
        self.workspace = Workspace.default()
        self.key = KeyStore(self.workspace.keys).default()
        self.inputs = np.random.default_rng(5).standard_normal((count, 1, 4)).astype(np.float32)
        model = models.mlp(seed=1)
        self.registered: Registered = balance_core.setup(model, self.inputs, backend=backend)
        self.registration_id = self.registered.registration.registration_id
        execution: Execution = balance_core.execute(self.registration_id, self.inputs)
        self.answers = execution.answers

    def receipt(self, index: int, *, nonce: str | None = None) -> SignedReceipt:
        inputs = {"x": self.inputs[index]}
        nonce = nonce or secrets.token_hex(32)
        context = context_of(nonce, self.registration_id)
        sha256 = request_sha256(inputs)
        receipt = AnswerReceipt(
            registration_id=self.registration_id,
            provider=self.key.public,
            nonce=nonce,
            context=context,
            input_digest=None,
            input_sha256=sha256,
            outputs=self.answers[index],
            time=now(),
            proof="later",
            job_id=job_id_of(self.registration_id, sha256, context),
        )
        return sign_receipt(self.key, receipt)

    def order(self, index: int, **terms: object) -> Order:
        return Order({"x": self.inputs[index]}, Terms(**terms))

    def prover(self) -> Prover:
        return Prover(
            self.workspace,
            storage=lambda: registry.create("storage", "local", None),
            chain=lambda: registry.create("chains", "ledger", None),
        )

    def queue(self, **options: object) -> JobQueue:
        return JobQueue(self.workspace.root / "service" / "jobs.db", **options)
