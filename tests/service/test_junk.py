"""What strangers put on a chain costs a validator bounded work, memory and time, and never stops it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from balance_core.builtin.integer_verifier import Answer, IntegerVerifier, ReExecution, seal
from balance_core.bundle import Bundle
from balance_core.contracts import Storage
from balance_core.errors import BlobNotFound, ContentTooLarge, StageTimeout, StorageUnreachable
from balance_core.integer.interface import STRUCTURE_PART, read_interface
from balance_core.judging import judge
from balance_core.records import Proof
from balance_core.service.validator import Reason, State
from balance_core.service.validator.checking import cut_log
from balance_core.service.validator.fetching import Fetcher
from balance_core.service.validator.intake import follow
from balance_core.signing import SignedRegistration

from .validating import Yard

KINDS = (
    "unavailable",
    "malformed",
    "huge",
    "unavailable",
    "malformed",
    "martian",
    "unavailable",
    "malformed",
    "revoked",
)
"""What most junk is: it ends before a process is started for it."""
GROWTH = 48 * 2**20
"""Bytes that a validator may take beyond what it takes with hardly any junk."""

_RUN = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from balance_core import measure
from tests.service.validating import Yard
yard = Yard(Path(os.environ["BALANCE_HOME"]), key=object())
status = yard.run("validator", retry_seconds=0.02, invalid_per_day=10_000)
print(json.dumps({"peak": measure.memory(os.getpid()).high_water, "tallies": [
    (one.state, one.reason, one.proofs) for one in status.tallies], "waiting": status.waiting}))
"""


@pytest.fixture
def yard(tmp_path, monkeypatch):
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path))
    return Yard(tmp_path)


def fill(yard, count, *, every_process):
    """Put junk on the chain; one in so many is a bundle that needs a process to be seen through."""
    plain, martian, revoked = yard.register(), yard.register("martian", backend="martian"), yard.register("revoked")
    expected = {"valid": 0, "invalid": 0, "unavailable": 0, "too-large": 0, "unknown-backend": 0, "revoked": 0}
    reasons = {"malformed": "invalid", "huge": "too-large", "cut": "invalid", "martian": "unknown-backend"}
    for number in range(count):
        kind = "cut" if number % every_process == 0 else KINDS[number % len(KINDS)]
        of = {"martian": martian, "revoked": revoked}.get(kind, plain)
        yard.junk(of, number, "unavailable" if kind in {"martian", "revoked"} else kind)
        expected[reasons.get(kind, kind)] += 1
    yard.revoke(revoked)
    good = yard.publish(plain)
    expected["valid"] += 1
    return expected, good


def work_through():
    """Have a validator in a process of its own work through the chain, and return what it says."""
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run([sys.executable, "-c", _RUN, root], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def soak(yard, tmp_path, monkeypatch, count, *, every_process):
    small = tmp_path / "small"
    small.mkdir()
    monkeypatch.setenv("BALANCE_HOME", str(small))
    few = Yard(small, key=yard.key)
    fill(few, 18, every_process=9)
    before = work_through()["peak"]
    monkeypatch.setenv("BALANCE_HOME", str(yard.home))
    expected, good = fill(yard, count, every_process=every_process)
    started = time.monotonic()
    found = work_through()
    seconds = time.monotonic() - started
    assert {reason: number for _, reason, number in found["tallies"]} == expected
    assert found["waiting"] == 0
    assert [valid for _, _, valid in yard.words(good)] == [True]
    assert len(yard.words()) == expected["valid"] + expected["invalid"]
    print(  # noqa: T201 - what was measured, for whoever runs it with -s
        f"\n{count} junk events in {seconds:.0f} s: high-water mark {found['peak'] / 2**20:.0f} MiB,"
        f" with 18 of them {before / 2**20:.0f} MiB; memory on disk"
        f" {(yard.home / 'validator.db').stat().st_size / 2**20:.1f} MiB"
    )
    return before, found["peak"]


@pytest.mark.slow
def test_five_hundred_junk_events_are_worked_through_in_bounded_memory(yard, tmp_path, monkeypatch):
    before, peak = soak(yard, tmp_path, monkeypatch, 500, every_process=50)
    assert peak - before < GROWTH


@pytest.mark.soak
def test_ten_thousand_junk_events_are_worked_through_in_bounded_memory(yard, tmp_path, monkeypatch):
    before, peak = soak(yard, tmp_path, monkeypatch, 10_000, every_process=100)
    # The ledger itself keeps about 4 KiB for each event: its state, which every reader of a ledger has.
    assert peak - before < GROWTH + 10_000 * 2 * 4096


def test_a_check_that_does_not_end_is_stopped_and_accuses_nobody(yard):
    registration = yard.register()
    interface = read_interface(yard.key.parts[STRUCTURE_PART])
    sizes = [port.size for port in interface.inputs]
    answer = yard.verified(yard.bundle(registration)[0])[0]
    endless = Answer(
        context="00" * 32,
        inputs=tuple(tuple([0] * size) for size in sizes),
        outputs=tuple(tensor.integers for tensor in answer.outputs),
    )
    answers = tuple(endless.model_copy(update={"context": f"{number:064x}"}) for number in range(800))
    sealed = ReExecution(answers=answers, seal=seal(yard.key.circuit_id, answers))
    made = Bundle(
        SignedRegistration.sign(registration, yard.provider), yard.key, None, Proof("integer", sealed.to_json())
    )
    address = yard.storage.put(io.BytesIO(made.to_bytes()))
    yard.submit(registration, answer, address)
    status = yard.run(verify_seconds=0.001, max_bundle_bytes=2**24)
    assert status.count(State.RECORDED, Reason.TIMEOUT) == 1
    assert yard.words() == []


class Odd(Storage):
    """A storage as a stranger might run it: it gives pieces as it likes."""

    api_version = 1

    def __init__(self, source):
        super().__init__()
        self.source = source

    def open(self, cid, *, max_size):
        del cid, max_size
        return self.source()

    def put(self, source):
        raise NotImplementedError

    has = pin = unpin = put


class Endless(io.RawIOBase):
    """Content without an end, a piece at a time."""

    def __init__(self, piece=b"x" * 2**16, seconds=0.0):
        self.piece, self.seconds, self.given = piece, seconds, 0

    def read(self, size=-1):
        del size
        time.sleep(self.seconds)
        self.given += len(self.piece)
        return self.piece


class TestFetching:
    def test_content_without_an_end_is_cut_at_the_limit(self, tmp_path):
        source = Endless()
        fetcher = Fetcher(Odd(lambda: source), max_bytes=2**20, seconds=10, most_stuck=1)
        with pytest.raises(ContentTooLarge):
            fetcher.fetch("cid", tmp_path / "out")
        assert source.given <= 2**20 + 2**16
        assert (tmp_path / "out").stat().st_size <= 2**20

    def test_content_that_drips_is_given_up_when_the_time_is_over(self, tmp_path):
        fetcher = Fetcher(Odd(lambda: Endless(b"x", 0.05)), max_bytes=2**20, seconds=0.3, most_stuck=1)
        started = time.monotonic()
        with pytest.raises(StageTimeout):
            fetcher.fetch("cid", tmp_path / "out")
        assert time.monotonic() - started < 5
        assert fetcher.stuck == 0

    def test_a_storage_that_never_answers_holds_so_many_threads_and_no_more(self, tmp_path):
        release = threading.Event()

        def never():
            release.wait()
            raise BlobNotFound("too late")

        fetcher = Fetcher(Odd(never), max_bytes=100, seconds=0.05, most_stuck=2)
        for number in range(2):
            with pytest.raises(StageTimeout):
                fetcher.fetch("cid", tmp_path / f"{number}")
        with pytest.raises(StorageUnreachable, match="2 fetches have not come back"):
            fetcher.fetch("cid", tmp_path / "2")
        release.set()
        deadline = time.monotonic() + 10
        while fetcher.stuck and time.monotonic() < deadline:
            time.sleep(0.01)
        assert fetcher.stuck == 0

    def test_what_the_storage_raises_comes_through(self, tmp_path):
        def absent():
            raise BlobNotFound("it is not here")

        with pytest.raises(BlobNotFound):
            Fetcher(Odd(absent), max_bytes=100, seconds=5, most_stuck=1).fetch("cid", tmp_path / "out")


def test_a_storage_that_does_not_answer_does_not_stop_the_validator(yard):
    registration = yard.register()
    record = yard.publish(registration)
    absent = yard.junk(registration, 1, "unavailable")
    whole = yard.storage

    class Half(Odd):
        def open(self, cid, *, max_size):
            if cid == absent.bundle:
                threading.Event().wait(60)
            return whole.open(cid, max_size=max_size)

    with yard.validator(fetch_seconds=0.2, tries=1, workers=1) as validator:
        validator.checker.fetcher._storage = Half(None)
        status = validator.run(until_done=True)
    assert status.count(State.RECORDED, Reason.TOO_SLOW) == 1
    assert [valid for _, _, valid in yard.words(record)] == [True]


def test_the_log_of_the_workers_does_not_grow_without_end(tmp_path):
    log = tmp_path / "judge.log"
    cut_log(log)
    log.write_bytes(b"x" * 1000)
    cut_log(log)
    assert log.stat().st_size == 1000
    with log.open("wb") as stream:
        stream.truncate(2**24 + 1)
    cut_log(log)
    assert log.stat().st_size == 0


def test_words_of_strangers_are_kept_short_and_on_one_line(yard):
    registration = yard.register(backend="martian")
    yard.junk(registration, 1, "unavailable")
    with yard.validator() as validator:
        follow(validator.chain, validator.store, validator.public_key)
        item = validator.queue.lease()
        validator.queue.record(item, Reason.FAILED, "a\nb\x1b[31m" + "c" * 10_000)
        with validator.store.reading() as connection:
            (detail,) = connection.execute("SELECT detail FROM work").fetchone()
    assert len(detail) <= 500
    assert detail.isprintable()


def test_the_worker_cannot_fill_the_disk(tmp_path):
    """A process that judges may write so much and no more, whatever its verifier is made to do."""
    script = (
        "from balance_core import judging; judging.MAX_FILE_BYTES = 2**16; judging.confine()\n"
        f"import sys\ntry:\n    open({str(tmp_path / 'out')!r}, 'wb').write(bytes(2**20))\n"
        "except OSError:\n    sys.exit(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, env=dict(os.environ))
    assert done.returncode == 3
    assert (tmp_path / "out").stat().st_size <= 2**16


def test_what_comes_back_from_the_worker_is_small_whatever_is_stated(yard):
    made, statement = yard.bundle(yard.register())
    size = len(statement.to_json())
    full = judge(made, IntegerVerifier(), told_bytes=size)
    assert (full.count, full.statements) == (1, (statement,))
    assert judge(made, IntegerVerifier(), told_bytes=size - 1).statements == ()
