from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest

from balance_core import registry, verify
from balance_core.builtin.ledger import Ledger
from balance_core.bundle import MAX_BUNDLE_BYTES
from balance_core.errors import ChainUnreachable
from balance_core.service.jobs import JobState, Prover, Workers
from balance_core.service.jobs.leases import Leasing
from tests.service.jobs.proving import Desk, install_odd, settled, until


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A registered model of the backend `odd`, in a data folder that the module shares."""
    folder = tmp_path_factory.mktemp("desk")
    install_odd(folder / "site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BALANCE_HOME", str(folder / "home"))
        paths = [str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.syspath_prepend(str(folder / "site"))
        yield Desk(backend="odd")


@pytest.fixture
def queue(desk, tmp_path):
    (desk.workspace.root / "behave").unlink(missing_ok=True)
    (desk.workspace.root / "pids").unlink(missing_ok=True)
    with desk.queue(f"{tmp_path.name}.db") as opened:
        yield opened


@pytest.fixture
def at_work(desk, queue):
    """Start workers; they and their processes end with the test."""
    with ExitStack() as held:

        def start(*, prover=None, **options):
            made = desk.prover(**(prover or {}))
            held.callback(made.close)
            workers = Workers(queue, made, poll_seconds=0.05, **options)
            workers.start()
            held.callback(workers.close, 0.0)
            return workers

        yield start


def behave(desk, **by_context: str) -> None:
    (desk.workspace.root / "behave").write_text(json.dumps(by_context))


def context(queue, job) -> str:
    return queue.receipt(job.receipt_id).receipt.context


def published(desk) -> Counter[str]:
    """How often each request was submitted, by its context, as the ledger has it after checking everything."""
    chain = desk.chain()
    chain.verify()
    return Counter(event.record["context"] for event in chain.events() if event.type == "submitted")


def processes(desk) -> list[int]:
    until((desk.workspace.root / "pids").exists)
    return [int(pid) for pid in (desk.workspace.root / "pids").read_text().split()]


def test_jobs_are_proven_checked_stored_and_published_once(desk, queue, at_work):
    jobs = [desk.accept(queue, index) for index in range(6)]
    at_work(count=2)
    done = settled(queue, *(job.job_id for job in jobs))
    chain = published(desk)
    storage = registry.create("storage", "local")
    for job in done:
        assert (job.state, job.reason) == (JobState.PUBLISHED, "")
        assert chain[context(queue, job)] == 1
        assert queue.published(job.bundle)
        with storage.open(job.bundle, max_size=MAX_BUNDLE_BYTES) as stream:
            verified = verify(stream.read(), registration=desk.registration_id)
        assert verified.statements[0].context == context(queue, job)
        assert verified.statements[0].outputs == queue.receipt(job.receipt_id).receipt.outputs
        assert job.proof.statement_digest == verified.statements[0].digest
    assert queue.counts()["input_bytes"] == 0


def test_proofs_leave_nothing_in_the_workspace_but_what_is_published(desk, queue, at_work):
    before = {path for path in desk.workspace.root.rglob("*") if path.is_file() and "storage" not in path.parts}
    jobs = [desk.accept(queue, index) for index in range(3)]
    workers = at_work()
    settled(queue, *(job.job_id for job in jobs))
    workers.close()
    after = {path for path in desk.workspace.root.rglob("*") if path.is_file() and "storage" not in path.parts}
    new = {path.name for path in after - before}
    assert not any(name.startswith("baf") for name in new), new


def test_a_job_that_kills_its_prover_takes_no_other_down(desk, queue, at_work):
    jobs = [desk.accept(queue, index, attempts=2) for index in range(4)]
    behave(desk, **{context(queue, jobs[1]): "die"})
    at_work()
    first, poison, *rest = settled(queue, *(job.job_id for job in jobs))
    assert (poison.state, poison.failures) == (JobState.FAILED, 2)
    assert [job.state for job in (first, *rest)] == [JobState.PUBLISHED] * 3
    assert published(desk)[context(queue, poison)] == 0


def test_cancelling_kills_the_whole_process_tree(desk, queue, at_work):
    behave(desk, **{"*": "sleep"})
    job = desk.accept(queue)
    at_work()
    running = processes(desk)
    until(lambda: any(event.text == "thinking" for event in queue.events(job.job_id)))
    assert queue.cancel(job.job_id).state is JobState.CANCELLED
    until(lambda: not any(psutil.pid_exists(pid) for pid in running))
    behave(desk)
    assert settled(queue, desk.accept(queue, 1).job_id)[0].state is JobState.PUBLISHED  # the worker goes on
    assert queue.job(job.job_id).state is JobState.CANCELLED


def test_a_job_that_is_wanted_now_waits_for_one_proof_only(desk, queue, at_work, monkeypatch):
    behave(desk, **{"*": "linger"})
    monkeypatch.setattr(Prover, "portion", lambda _, leases: len(leases))
    patient = [desk.accept(queue, index) for index in range(7)]
    at_work()
    until(lambda: queue.job(patient[-1].job_id).state is JobState.PROVING)
    urgent = desk.accept(queue, 7, priority=60)
    ended = settled(queue, urgent.job_id, *(job.job_id for job in patient))
    assert {job.state for job in ended} == {JobState.PUBLISHED}
    in_order = list(published(desk))
    assert in_order.index(context(queue, urgent)) < in_order.index(context(queue, patient[-1]))


def test_a_proof_is_published_while_those_after_it_are_made(desk, queue, at_work, monkeypatch):
    monkeypatch.setattr(Prover, "portion", lambda _, leases: len(leases))
    monkeypatch.setattr("balance_core.service.jobs.proving._HAND_OVER_SECONDS", 0.0)
    first, second, last = (desk.accept(queue, index) for index in range(3))
    behave(desk, **{context(queue, last): "sleep"})
    at_work()
    assert {job.state for job in settled(queue, first.job_id, second.job_id)} == {JobState.PUBLISHED}
    assert queue.job(last.job_id).state is JobState.PROVING
    queue.cancel(last.job_id)
    assert settled(queue, last.job_id)[0].state is JobState.CANCELLED
    assert [published(desk)[context(queue, job)] for job in (first, second, last)] == [1, 1, 0]


def test_workers_that_close_give_back_what_they_cannot_finish(desk, queue, at_work):
    behave(desk, **{"*": "sleep"})
    job = desk.accept(queue)
    workers = at_work()
    running = processes(desk)
    workers.close(grace_seconds=0.2)
    assert not any(psutil.pid_exists(pid) for pid in running)
    back = queue.job(job.job_id)
    assert (back.state, back.failures) == (JobState.QUEUED, 0)
    behave(desk)
    at_work()
    assert settled(queue, job.job_id)[0].state is JobState.PUBLISHED


@pytest.mark.parametrize(
    ("terms", "reason"),
    [({"seconds": 0.5}, "StageTimeout"), ({"memory_bytes": 2**28}, "StageOutOfMemory")],
)
def test_a_proof_is_held_to_its_limits(desk, queue, at_work, terms, reason):
    behave(desk, **{"*": "sleep" if reason == "StageTimeout" else "eat"})
    job = desk.accept(queue, attempts=1, **terms)
    at_work(memory_bytes=2**29)
    (ended,) = settled(queue, job.job_id)
    assert ended.state is JobState.FAILED
    assert ended.reason.startswith(reason)


def test_a_proof_that_contradicts_its_receipt_is_not_published(desk, queue, at_work):
    liar = queue.accept(desk.order(0), desk.receipt(0, answer=1))
    at_work()
    (ended,) = settled(queue, liar.job_id)
    assert ended.state is JobState.FAILED
    assert "another output than the receipt" in ended.reason
    assert published(desk)[context(queue, ended)] == 0


def test_a_chain_that_is_away_is_waited_for_without_proving_again(desk, queue, at_work):
    class Away(Ledger):
        calls = 0

        def submit(self, record, *, key, inline=None):
            Away.calls += 1
            if Away.calls < 3:
                raise ChainUnreachable("nobody answers")
            return super().submit(record, key=key, inline=inline)

    job = desk.accept(queue)
    at_work(prover={"chain": Away})
    (ended,) = settled(queue, job.job_id)
    taken_up = [event.state for event in queue.events(job.job_id) if not event.text].count(JobState.PROVING)
    assert ended.state is JobState.PUBLISHED
    assert (taken_up, Away.calls) == (1, 3)
    assert published(desk)[context(queue, ended)] == 1


def _die_at(point: str, url) -> None:
    """Be a worker that is gone in the moment before or after it does something."""
    desk = Desk.again()
    proven, submit = Leasing.proven, Ledger.submit

    def dying_journal(self, lease, bundle, proof):
        if point == "stored":
            os._exit(9)
        proven(self, lease, bundle, proof)
        if point == "journalled":
            os._exit(9)

    def dying_submit(self, record, *, key, inline=None):
        submit(self, record, key=key, inline=inline)
        os._exit(9)

    Leasing.proven, Ledger.submit = dying_journal, dying_submit
    with desk.queue(url) as queue, Workers(queue, desk.prover(), poll_seconds=0.05, lease_seconds=2.0):
        signal.pause()


@pytest.mark.parametrize("point", ["stored", "journalled", "submitted"])
def test_a_worker_that_dies_anywhere_leaves_one_proof(desk, queue, at_work, tmp_path, point):
    job = desk.accept(queue)
    dying = multiprocessing.get_context("spawn").Process(target=_die_at, args=(point, f"{tmp_path.name}.db"))
    dying.start()
    dying.join(60)
    assert dying.exitcode == 9
    left = queue.job(job.job_id)
    assert (left.bundle is None) == (point == "stored")
    at_work(lease_seconds=2.0)
    (ended,) = settled(queue, job.job_id)
    taken_up = [event.state for event in queue.events(job.job_id) if not event.text].count(JobState.PROVING)
    assert ended.state is JobState.PUBLISHED
    assert taken_up == (2 if point == "stored" else 1)
    assert left.bundle in {None, ended.bundle}
    assert published(desk)[context(queue, ended)] == 1


def _work(url) -> None:
    desk = Desk.again()
    with desk.queue(url) as queue, Workers(queue, desk.prover(), poll_seconds=0.05, lease_seconds=1.5):
        signal.pause()


def status(process: int, thread: int) -> str:
    return Path(f"/proc/{process}/task/{thread}/stat").read_text().rpartition(")")[2].split()[0]


def _pause(process: int, queue) -> bool:
    """Stop a process, unless it is just writing to the database, which nobody else could use then."""
    os.kill(process, signal.SIGSTOP)
    # its threads stop one after the other
    until(lambda: {status(process, thread.id) for thread in psutil.Process(process).threads()} == {"T"})
    try:
        with closing(sqlite3.connect(queue._database.url.database, timeout=0.1)) as connection:
            connection.execute("BEGIN IMMEDIATE").connection.rollback()
    except sqlite3.OperationalError:
        os.kill(process, signal.SIGCONT)
        return False
    return True


def test_a_worker_that_was_paused_past_its_lease_publishes_nothing(desk, queue, at_work, tmp_path):
    behave(desk, **{"*": "sleep"})
    job = desk.accept(queue)
    paused = multiprocessing.get_context("spawn").Process(target=_work, args=(f"{tmp_path.name}.db",))
    paused.start()
    try:
        stage = psutil.Process(processes(desk)[0])
        until(lambda: _pause(paused.pid, queue))
        behave(desk)
        at_work(lease_seconds=1.5)
        (ended,) = settled(queue, job.job_id)
        os.kill(paused.pid, signal.SIGCONT)
        until(lambda: not stage.is_running())  # it has noticed, and gives up its proof
    finally:
        paused.kill()
        paused.join()
    assert queue.job(job.job_id) == ended
    assert published(desk)[context(queue, ended)] == 1
