from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa

from balance_core import arrays
from balance_core.errors import ConfigError
from balance_core.service.jobs import JobQueue, JobState, Order, QueueLimits
from balance_core.service.jobs.tables import inputs as inputs_table
from balance_core.service.jobs.vault import Vault
from tests.service.jobs.conftest import answered
from tests.service.jobs.test_jobs_leases import BUNDLE, record

SECRET = np.frombuffer(b"diagnosis:" + bytes(range(1, 231)), np.uint8)
X = {"x": SECRET}


def everything(folder) -> bytes:
    """All bytes of all files, also of the journals beside the database."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def sealed_bytes(queue) -> bytes:
    with queue._database.read() as connection:
        return connection.execute(sa.select(inputs_table.c.sealed)).scalar_one()


def test_inputs_are_never_on_the_disk_in_the_clear(queue, tmp_path):
    queue.accept(Order(X), answered(X))
    queue.keep(answered(X, proof="none"), X)
    (lease,) = queue.lease("w", 30, None)
    assert np.array_equal(arrays.unpack(lease.inputs)["x"], SECRET)
    assert SECRET.tobytes()[:32] not in everything(tmp_path)


@pytest.mark.parametrize("end", ["proven", "cancelled", "failed", "expired", "forgotten"])
def test_what_was_sealed_is_in_no_file_once_it_is_not_needed(tmp_path, clock, end):
    with JobQueue(tmp_path / "jobs.db", clock=clock, limits=QueueLimits(input_seconds=60)) as queue:
        kept = answered(X, proof="none") if end == "forgotten" else answered(X)
        if end == "forgotten":
            queue.keep(kept, X)
        else:
            queue.accept(Order(X), kept)
        sealed = sealed_bytes(queue)
        assert sealed in everything(tmp_path)
        if end in {"proven", "failed"}:
            (lease,) = queue.lease("w", 30, None)
            lease.proven(BUNDLE, record(lease)) if end == "proven" else lease.failed("no", retry=False)
        elif end == "cancelled":
            queue.cancel(kept.receipt.job)
        clock.now += 10**5
        if end == "expired":
            queue._database.write(lambda c: c.execute(sa.text("UPDATE jobs SET deadline_at = 1")))
        queue.sweep()
        for start in range(0, len(sealed) - 16, 16):
            assert sealed[start : start + 16] not in everything(tmp_path)
        assert queue.counts()["input_bytes"] == 0


def test_a_row_moved_to_another_job_does_not_open(queue):
    first, second = answered({"x": np.zeros(3)}), answered({"x": np.ones(3)})
    queue.accept(Order({"x": np.zeros(3)}), first)
    queue.accept(Order({"x": np.ones(3)}), second)
    swap = "UPDATE inputs SET job_id = CASE job_id WHEN :a THEN :b ELSE :a END"
    names = {"a": first.receipt.job, "b": second.receipt.job}

    def swapped(connection):
        connection.execute(sa.text("UPDATE inputs SET job_id = 'x' || job_id"))
        connection.execute(sa.text(swap.replace("WHEN :a", "WHEN 'x' || :a")), names)

    queue._database.write(swapped)
    assert queue.lease("w", 30, None, most=2) == []
    for name in names.values():
        assert queue.job(name).state is JobState.FAILED
        assert "cannot be opened" in queue.job(name).reason


def test_each_row_has_a_nonce_of_its_own(queue):
    for _ in range(20):
        queue.accept(Order(X), answered(X))
    with queue._database.read() as connection:
        nonces = connection.execute(sa.select(inputs_table.c.nonce)).scalars().all()
        sealed = connection.execute(sa.select(inputs_table.c.sealed)).scalars().all()
    assert len(set(nonces)) == len(set(sealed)) == 20


def test_key_and_database_are_their_owners_alone(queue, tmp_path):
    queue.accept(Order(X), answered(X))
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_key_that_others_can_read_is_refused(tmp_path):
    JobQueue(tmp_path / "jobs.db").close()
    (tmp_path / "jobs.key").chmod(0o640)
    with pytest.raises(ConfigError, match="other users"):
        JobQueue(tmp_path / "jobs.db")


def test_a_damaged_key_is_refused(tmp_path):
    (tmp_path / "k").write_bytes(b"short")
    (tmp_path / "k").chmod(0o600)
    with pytest.raises(ConfigError, match="damaged"):
        Vault(tmp_path / "k")


def test_a_lost_key_fails_the_jobs_that_need_it_and_says_so(queue, tmp_path, clock):
    job = queue.accept(Order(X), answered(X)).job_id
    queue.close()
    (tmp_path / "jobs.key").unlink()
    with JobQueue(tmp_path / "jobs.db", clock=clock) as reopened:
        assert reopened.lease("w", 30, None) == []
        assert "another key" in reopened.job(job).reason


def test_nothing_grows_without_bound(tmp_path, clock):
    limits = QueueLimits(receipt_seconds=1000, job_seconds=500, input_seconds=100)
    with JobQueue(tmp_path / "jobs.db", clock=clock, limits=limits) as queue:
        for _ in range(30):
            queue.accept(Order(X), answered(X))
            queue.keep(answered(X, proof="none"), X)
        for lease in queue.lease("w", 30, None, most=29):
            lease.failed("no", retry=False)
        clock.now += 101
        assert queue.sweep() == {"expired": 0, "jobs": 0, "inputs": 30, "receipts": 0}
        clock.now += 500
        assert queue.sweep() == {"expired": 0, "jobs": 29, "inputs": 0, "receipts": 0}
        clock.now += 500
        assert queue.sweep() == {"expired": 0, "jobs": 0, "inputs": 0, "receipts": 59}
        counts = queue.counts()
        assert (counts["queued"], counts["receipts"]) == (1, 1)  # a job that waits keeps its receipt
        with queue._database.read() as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM events")).scalar() == 1
            assert connection.execute(sa.text("SELECT count(*) FROM requests")).scalar() == 1


@pytest.mark.parametrize("length", [0, 3, 4, 10, 40, -1])
def test_a_packed_request_of_another_length_is_refused(length):
    packed = arrays.pack({"a": np.arange(6, dtype=np.int16).reshape(2, 3), "b": np.array(True)})
    assert arrays.unpack(packed)["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ConfigError):
        arrays.unpack(packed[:length] if length >= 0 else packed + b"x")
