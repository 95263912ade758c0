from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import numpy as np
import pytest

from balance_core.records import Tensor
from balance_core.service.jobs import JobQueue, Order, Terms
from balance_core.service.receipts import AnswerReceipt, context_of, job_id_of, now, request_sha256, sign_receipt
from balance_core.signing import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from balance_core.service.receipts import SignedReceipt

KEY = SigningKey.generate()


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def answered(
    inputs: dict[str, np.ndarray], *, proof: str = "later", registration: str = "ab" * 32, nonce: str | None = None
) -> SignedReceipt:
    """A receipt as a provider signs it, with an answer of no model."""
    nonce = nonce or secrets.token_hex(32)
    digest, context = request_sha256(inputs), context_of(nonce, registration)
    receipt = AnswerReceipt(
        registration_id=registration,
        provider=KEY.public,
        nonce=nonce,
        context=context,
        input_digest=None,
        input_sha256=digest,
        outputs=(Tensor(name="y", shape=(1,), integers=(7,)),),
        time=now(),
        proof=proof,
        job_id=None if proof == "none" else job_id_of(registration, digest, context),
    )
    return sign_receipt(KEY, receipt)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[JobQueue]:
    with JobQueue(tmp_path / "jobs.db", clock=clock) as opened:
        yield opened


@pytest.fixture
def accepted(queue: JobQueue) -> Callable[..., str]:
    """Accept a job for an input of its own; returns its id."""

    def accept(value: float | None = None, *, registration: str = "ab" * 32, **terms: object) -> str:
        inputs = {"x": np.full(3, np.random.default_rng().random() if value is None else value)}
        receipt = answered(inputs, registration=registration)
        return queue.accept(Order(inputs, Terms(**terms)), receipt).job_id

    return accept
