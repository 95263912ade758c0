from __future__ import annotations

from collections import Counter

import pytest
import sqlalchemy as sa

from balance_core import registry, verify
from balance_core.bundle import MAX_BUNDLE_BYTES
from balance_core.chain import ProofRecord
from balance_core.service.jobs import JobState
from balance_core.service.jobs.tables import events
from balance_core.service.receipts import check_receipt
from tests.service.jobs.proving import Desk
from tests.service.jobs.soaking import soak

SERVER_KILLS, WORKER_KILLS = 5, 10


@pytest.mark.parametrize(
    "requests",
    [pytest.param(500, marks=pytest.mark.slow), pytest.param(10_000, marks=pytest.mark.soak)],
)
def test_every_receipt_has_its_proof_published_once_whatever_is_killed(tmp_path, monkeypatch, requests):
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "home"))
    desk = Desk()
    held = soak(desk, requests, server_kills=SERVER_KILLS, worker_kills=WORKER_KILLS)
    assert len({receipt.receipt.job_id for receipt in held}) == requests

    chain = desk.chain()
    chain.verify()
    submitted = [ProofRecord.from_value(one.record) for one in chain.events() if one.type == "submitted"]
    by_context = {record.context: record for record in submitted}
    assert len(submitted) == len(by_context), "an answer was published twice"

    with desk.queue() as queue:
        for receipt in held:
            check_receipt(receipt, desk.key.public)
            assert queue.receipt(receipt.receipt_id) == receipt
            job = queue.job(receipt.receipt.job_id)
            assert job is not None, "a receipt without a stored job"
            assert (job.state, job.reason) == (JobState.PUBLISHED, "")
            assert job.proof == by_context[receipt.receipt.context]
        counts = queue.counts()
        assert counts["published"] == len(submitted) == requests
        assert sum(counts[state.value] for state in JobState) == requests
        assert counts["input_bytes"] == 0
        with queue._database.read() as connection:
            journal = sa.select(events.c.job_id).where(events.c.state == "publishing", events.c.text == "proven")
            journalled = Counter(connection.execute(journal).scalars())
    assert set(journalled.values()) == {1}, "a job was proven twice"

    storage = registry.create("storage", "local")
    for receipt in held[:: max(1, len(held) // 5)]:
        with storage.open(by_context[receipt.receipt.context].bundle, max_size=MAX_BUNDLE_BYTES) as stream:
            verified = verify(stream.read(), registration=desk.registration_id)
        assert verified.statements[0].outputs == receipt.receipt.outputs
