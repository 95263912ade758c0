from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest
import sqlalchemy as sa

from balance_core.errors import Busy, ConfigError, Rejected, StageOutOfMemory, StorageUnreachable
from balance_core.service.jobs import AnsweredBefore, JobQueue, JobState, Order, QueueLimits, Terms
from balance_core.service.jobs.database import Database
from balance_core.service.jobs.tables import HEAD, metadata
from balance_core.service.receipts import sign_receipt
from tests.service.jobs.conftest import KEY, answered

X = {"x": np.arange(3.0)}


def test_accepted_job_and_receipt_are_there_for_another_process(queue, tmp_path):
    receipt = answered(X)
    job = queue.accept(Order(X), receipt)
    with JobQueue(tmp_path / "jobs.db") as other:
        assert other.job(job.job_id) == job
        assert other.receipt(receipt.receipt_id) == receipt
    assert job.state is JobState.QUEUED
    assert job.job_id == receipt.receipt.job_id
    assert job.receipt_id == receipt.receipt_id


def _accept_and_die(path, receipts, pipe):
    queue = JobQueue(path)
    for receipt in receipts:
        queue.accept(Order(X), receipt)
        pipe.send(receipt.receipt_id)
    time.sleep(60)


def test_what_was_accepted_survives_a_kill_at_any_moment(tmp_path):
    JobQueue(tmp_path / "jobs.db").close()
    ours, theirs = multiprocessing.Pipe(duplex=False)
    receipts = [answered(X) for _ in range(200)]
    child = multiprocessing.get_context("spawn").Process(
        target=_accept_and_die, args=(tmp_path / "jobs.db", receipts, theirs)
    )
    child.start()
    said = [ours.recv() for _ in range(40)]
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    theirs.close()
    while ours.poll():
        try:
            said.append(ours.recv())
        except EOFError:
            break
    with JobQueue(tmp_path / "jobs.db") as queue:
        counts = queue.counts()
        assert len(said) <= counts["queued"] == counts["receipts"] <= len(said) + 1
        assert all(queue.receipt(name) for name in said)


def test_the_same_request_has_one_job_however_often_it_is_sent(queue):
    first = answered(X, nonce="11" * 32)
    assert queue.accept(Order(X), first).job_id == queue.accept(Order(X), first).job_id
    assert queue.counts()["queued"] == 1
    assert queue.accept(Order(X), answered(X, nonce="22" * 32)).job_id != first.receipt.job_id
    other = answered(X, nonce="11" * 32, registration="cd" * 32)
    assert queue.accept(Order(X), other).job_id != first.receipt.job_id
    assert queue.counts()["queued"] == 3


def test_sixteen_threads_share_commits_and_lose_nothing(queue):
    receipts = [answered(X) for _ in range(320)]

    def accept(part):
        for receipt in part:
            queue.accept(Order(X), receipt)

    threads = [threading.Thread(target=accept, args=(receipts[i::16],)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.counts()["queued"] == queue.counts()["receipts"] == 320


def test_what_one_caller_does_wrong_undoes_nothing_of_the_others(queue):
    database = queue._database
    outcomes = []

    def fail(_):
        raise ConfigError("mine alone")

    def call(work):
        try:
            outcomes.append(database.write(work))
        except ConfigError as error:
            outcomes.append(str(error))

    receipt = answered(X)
    with database._leader:  # so that all come into one group
        threads = [threading.Thread(target=call, args=(fail,)) for _ in range(2)]
        threads += [threading.Thread(target=queue.keep, args=(receipt,)), threading.Thread(target=call, args=(fail,))]
        for thread in threads:
            thread.start()
        while len(database._waiting) < 4:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert outcomes == ["mine alone"] * 3
    assert queue.receipt(receipt.receipt_id) == receipt


def test_a_full_queue_says_busy_and_when_to_come_again(tmp_path):
    with JobQueue(tmp_path / "jobs.db", limits=QueueLimits(max_jobs=3)) as queue:
        receipts = [answered(X) for _ in range(4)]
        jobs = [queue.accept(Order(X), receipt) for receipt in receipts[:3]]
        with pytest.raises(Busy) as caught:
            queue.accept(Order(X), receipts[3])
        assert 1 <= caught.value.retry_after <= 300
        assert queue.receipt(receipts[3].receipt_id) is None
        assert queue.accept(Order(X), receipts[0]) == jobs[0]  # it is there already
        queue.cancel(jobs[0].job_id)
        queue.accept(Order(X), receipts[3])


def test_inputs_that_wait_have_a_bound_in_bytes(tmp_path):
    big = {"x": np.zeros(1000)}
    with JobQueue(tmp_path / "jobs.db", limits=QueueLimits(max_input_bytes=20_000)) as queue:
        queue.accept(Order(big), answered(big))
        queue.keep(answered(big, proof="none"), big)
        with pytest.raises(Busy, match="bytes"):
            queue.accept(Order(big), answered(big))
        with pytest.raises(Busy, match="bytes"):
            queue.keep(answered(big, proof="none"), big)
        queue.keep(answered(big, proof="none"))  # the receipt alone


def test_a_proof_that_no_worker_could_make_is_refused_at_once(tmp_path):
    with JobQueue(tmp_path / "jobs.db", limits=QueueLimits(memory_bytes=2**30)) as queue:
        with pytest.raises(StageOutOfMemory, match=r"4\.00 GiB"):
            queue.accept(Order(X, Terms(memory_bytes=2**32)), answered(X))
        queue.accept(Order(X, Terms(memory_bytes=2**30)), answered(X))
        assert queue.counts()["receipts"] == 1


@pytest.mark.parametrize(
    ("inputs", "proof", "terms"),
    [
        ({"x": np.arange(4.0)}, "later", Terms()),
        (X, "none", Terms()),
        (X, "later", Terms(deadline=1.0)),
        (X, "later", Terms(attempts=0)),
        (X, "later", Terms(priority=10**9)),
    ],
)
def test_an_order_that_does_not_fit_its_receipt_leaves_no_trace(queue, inputs, proof, terms):
    with pytest.raises(ConfigError):
        queue.accept(Order(inputs, terms), answered(X, proof=proof))
    assert queue.counts()["receipts"] == queue.counts()["queued"] == 0


def test_an_answer_whose_inputs_were_kept_can_be_proven_when_asked(queue):
    receipt = answered(X, proof="none")
    queue.keep(receipt, X)
    assert queue.counts()["queued"] == 0
    job = queue.order(receipt.receipt_id)
    assert job.state is JobState.QUEUED
    assert queue.order(receipt.receipt_id) == job
    assert queue.lease("w", 30, None)[0].receipt == receipt


def test_an_answer_whose_inputs_are_gone_cannot_be_proven(queue):
    receipt = answered(X, proof="none")
    queue.keep(receipt)
    with pytest.raises(ConfigError, match="not kept"):
        queue.order(receipt.receipt_id)
    with pytest.raises(ConfigError, match="no receipt"):
        queue.order("00" * 32)


def test_a_job_that_ended_without_a_proof_is_taken_up_again(queue):
    receipt = answered(X)
    job = queue.accept(Order(X), receipt)
    assert queue.cancel(job.job_id).state is JobState.CANCELLED
    assert queue.accept(Order(X), receipt).state is JobState.QUEUED
    assert len(queue.lease("w", 30, None)) == 1


def test_events_tell_the_story_in_order_and_from_any_point(queue, accepted):
    job = accepted()
    (lease,) = queue.lease("w", 30, None)
    lease.progress("half", 0.5)
    lease.failed("broken", retry=False)
    story = queue.events(job)
    assert [event.state for event in story] == ["queued", "proving", "proving", "failed"]
    assert (story[2].text, story[2].fraction, story[3].text) == ("half", 0.5, "broken")
    assert queue.events(job, story[1].number) == story[2:]


def test_events_of_one_job_have_a_bound(tmp_path):
    with JobQueue(tmp_path / "jobs.db", limits=QueueLimits(max_events=10)) as queue:
        job = queue.accept(Order(X), answered(X))
        (lease,) = queue.lease("w", 30, None)
        for _ in range(30):
            lease.progress("more")
        assert len(queue.events(job.job_id)) == 10


def test_migrations_make_exactly_the_tables(queue):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with queue._database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert MigrationContext.configure(connection).get_current_revision() == HEAD


def test_a_database_of_the_first_version_learns_which_requests_it_has_receipts_of(tmp_path):
    first, second = answered(X, nonce="1" * 64), answered(X, nonce="2" * 64, proof="none")
    with JobQueue(tmp_path / "jobs.db") as queue:
        queue.accept(Order(X), first)
        queue.keep(second)

        def as_it_was(connection):
            connection.execute(sa.text("DROP TABLE requests"))
            connection.execute(sa.text("UPDATE alembic_version SET version_num='jobs1'"))

        queue._database.write(as_it_was)
    with JobQueue(tmp_path / "jobs.db") as queue:
        for known in (first, second):
            other = {"x": X["x"] + 1}
            with pytest.raises(Rejected, match="another request"):
                queue.keep(answered(other, nonce=known.receipt.nonce, proof="none"))
        queue.keep(first)
        assert queue.counts()["receipts"] == 2


def test_of_two_receipts_of_one_request_the_first_stands(queue):
    first = answered(X, nonce="1" * 64)
    job = queue.accept(Order(X), first)
    again = sign_receipt(KEY, first.receipt.model_copy(update={"time": "2031-01-31T12:00:00.000Z"}))
    for repeat in (lambda: queue.accept(Order(X), again), lambda: queue.keep(again)):
        with pytest.raises(AnsweredBefore) as found:
            repeat()
        assert found.value.receipt_id == first.receipt_id
    assert queue.receipt(again.receipt_id) is None
    assert queue.accept(Order(X), first) == job


def test_a_database_of_a_newer_version_is_refused(queue, tmp_path):
    queue._database.write(
        lambda connection: connection.execute(sa.text("UPDATE alembic_version SET version_num='z'"))
    )
    with pytest.raises(ConfigError, match="newer version"):
        JobQueue(tmp_path / "jobs.db")


def test_processes_that_open_a_new_queue_together_wait_for_each_other(tmp_path):
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_open, args=(tmp_path / "new" / "jobs.db",)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 4


def _open(path):
    JobQueue(path).close()


@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "sqlite:///:memory:", "nodb://x/y"])
def test_a_url_that_names_no_database_file_is_a_config_error(url, tmp_path):
    with pytest.raises(ConfigError):
        JobQueue(url, key=tmp_path / "key")


def test_a_file_that_is_no_database_is_a_typed_error(tmp_path):
    (tmp_path / "jobs.db").write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(Exception, match=r"jobs\.db") as caught:
        Database(f"sqlite:///{tmp_path}/jobs.db")
    assert caught.type.__module__ == StorageUnreachable.__module__


def test_nothing_but_the_database_module_speaks_sqlite():
    from pathlib import Path

    import balance_core.service.jobs as package

    for path in Path(package.__file__).parent.rglob("*.py"):
        if path.name != "database.py":
            text = path.read_text().lower()
            assert "pragma" not in text, path
            assert "exec_driver_sql" not in text, path
