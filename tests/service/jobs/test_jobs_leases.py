from __future__ import annotations

import threading

import pytest

from balance_core.chain import ChainRef, ProofRecord
from balance_core.service.jobs import JobState
from balance_core.service.jobs.lease import LeaseLost, Memory
from balance_core.service.jobs.leases import MAX_LOSSES

BUNDLE = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
REFERENCE = ChainRef(chain="ledger", entry="7")


def record(lease) -> ProofRecord:
    return ProofRecord(
        registration_id=lease.registration_id,
        context=lease.context,
        inputs_digest="01" * 32,
        statement_digest="02" * 32,
        bundle=BUNDLE,
    )


def test_a_job_is_leased_to_one_worker_at_a_time(queue, accepted):
    accepted()
    assert len(queue.lease("a", 30, None)) == 1
    assert queue.lease("b", 30, None) == []


def test_threads_that_lease_at_once_never_share_a_job(queue, accepted):
    names = {accepted() for _ in range(60)}
    taken: list[str] = []

    def work():
        while leases := queue.lease("w", 30, None, most=3):
            taken.extend(lease.job_id for lease in leases)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(names)


def test_a_lease_that_ran_out_goes_to_another_worker_and_the_first_changes_nothing(queue, accepted, clock):
    job = accepted()
    (first,) = queue.lease("a", 30, None)
    clock.now += 31
    (second,) = queue.lease("b", 30, None)
    assert second.job_id == job
    with pytest.raises(LeaseLost):
        first.proven(BUNDLE, record(first))
    with pytest.raises(LeaseLost):
        first.done(REFERENCE)
    first.failed("too late")
    first.release()
    assert not first.renew(30)
    assert first.lost
    assert second.renew(30)
    second.proven(BUNDLE, record(second))
    second.done(REFERENCE)
    assert queue.job(job).state is JobState.PUBLISHED


def test_a_renewed_lease_is_kept(queue, accepted, clock):
    accepted()
    (lease,) = queue.lease("a", 30, None)
    for _ in range(5):
        clock.now += 20
        assert lease.renew(30)
    assert queue.lease("b", 30, None) == []


def test_a_proven_job_is_never_proven_again_only_published(queue, accepted, clock):
    job = accepted()
    (lease,) = queue.lease("a", 30, None)
    lease.proven(BUNDLE, record(lease))
    clock.now += 31  # the worker died between journal and chain
    (again,) = queue.lease("b", 30, None)
    assert (again.bundle, again.proof, again.inputs) == (BUNDLE, record(lease), b"")
    again.failed("the chain is away", counted=False)
    clock.now += 1000
    (third,) = queue.lease("c", 30, None)
    assert third.bundle == BUNDLE
    third.done(REFERENCE)
    done = queue.job(job)
    assert (done.state, done.bundle, done.chain_ref) == (JobState.PUBLISHED, BUNDLE, REFERENCE)
    assert queue.published(BUNDLE)
    assert queue.lease("d", 30, None) == []


def test_failures_are_retried_with_growing_delays_and_then_end_the_job(queue, accepted, clock):
    job = accepted(attempts=3)
    for attempt in range(1, 4):
        (lease,) = queue.lease("w", 30, None)
        lease.failed(f"no {attempt}")
        assert queue.lease("w", 30, None) == []
        clock.now += 2**attempt
    ended = queue.job(job)
    assert (ended.state, ended.failures, ended.reason) == (JobState.FAILED, 3, "no 3")
    assert queue.counts()["input_bytes"] == 0


def test_a_chain_that_is_away_never_ends_a_job(queue, accepted, clock):
    job = accepted(attempts=1)
    for _ in range(50):
        (lease,) = queue.lease("w", 30, None)
        lease.failed("away", counted=False)
        clock.now += 301
    assert queue.job(job).state is JobState.QUEUED
    assert len(queue.events(job)) < 80


def test_a_job_whose_workers_all_vanish_is_given_up(queue, accepted, clock):
    job = accepted()
    for _ in range(MAX_LOSSES):
        assert len(queue.lease("w", 30, None)) == 1
        clock.now += 31
    assert queue.lease("w", 30, None) == []
    assert queue.job(job).state is JobState.FAILED


def test_a_released_job_is_no_loss(queue, accepted):
    job = accepted()
    for _ in range(2 * MAX_LOSSES):
        (lease,) = queue.lease("w", 30, None)
        lease.release()
    assert queue.job(job).state is JobState.QUEUED


def test_a_priority_is_a_head_start_and_nothing_waits_for_ever(queue, accepted, clock):
    later = accepted()
    clock.now += 60
    now = accepted(priority=10)
    patient = accepted(priority=-10)
    assert [lease.job_id for lease in queue.lease("w", 30, None, most=3)] == [now, later, patient]
    for lease in (*queue.lease("w", 30, None, most=3),):
        lease.release()


def test_a_lease_is_overtaken_by_a_job_of_higher_priority_that_fits(queue, accepted):
    accepted(memory_bytes=100)
    (lease,) = queue.lease("w", 300, None)
    accepted(memory_bytes=100)
    accepted(memory_bytes=200, priority=10)
    assert not lease.overtaken(100)
    assert lease.overtaken(200)
    accepted(memory_bytes=100, priority=10)
    assert lease.overtaken(100)
    queue.lease("other", 300, None, most=9)
    assert not lease.overtaken(200)  # somebody else is at it


def test_an_old_job_is_not_overtaken_by_new_ones_of_higher_priority_for_ever(queue, accepted, clock):
    old = accepted()
    clock.now += 11 * 60
    accepted(priority=10)
    assert queue.lease("w", 30, None)[0].job_id == old


def test_workers_lease_only_what_fits_their_memory(queue, accepted):
    accepted(memory_bytes=8 * 2**30)
    small = accepted(memory_bytes=2**30)
    (lease,) = queue.lease("w", 30, Memory(2 * 2**30, 2**33))
    assert lease.job_id == small
    assert queue.lease("w", 30, Memory(2 * 2**30, 2**33)) == []


def test_a_large_job_that_has_waited_long_is_not_overtaken(queue, accepted, clock):
    large = accepted(memory_bytes=8 * 2**30)
    clock.now += 61
    accepted(memory_bytes=2**30)
    assert queue.lease("w", 30, Memory(2 * 2**30, 2**33)) == []
    assert queue.lease("w", 30, Memory(8 * 2**30, 2**33))[0].job_id == large


def test_a_job_that_this_worker_can_never_fit_keeps_nobody_waiting(queue, accepted, clock):
    accepted(memory_bytes=16 * 2**30)
    clock.now += 61
    small = accepted(memory_bytes=2**30)
    assert queue.lease("w", 30, Memory(2**31, 2**33))[0].job_id == small


def test_jobs_that_go_to_one_process_are_of_one_registration_and_have_not_failed(queue, accepted, clock):
    first, other, second = accepted(), accepted(registration="cd" * 32), accepted()
    failing = accepted()
    taken = {lease.job_id: lease for lease in queue.lease("w", 30, None, most=9)}
    assert taken.keys() == {first, second, failing}
    taken[failing].failed("poison")
    taken[first].release()
    taken[second].release()
    clock.now += 10
    batches = [[lease.job_id for lease in queue.lease("w", 30, None, most=9)] for _ in range(3)]
    assert batches == [[first, second], [other], [failing]]


def test_a_job_past_its_deadline_is_not_proven(queue, accepted, clock):
    job = accepted(deadline=clock.now + 60)
    clock.now += 61
    assert queue.lease("w", 30, None) == []
    assert queue.job(job).state is JobState.EXPIRED
    assert queue.counts()["input_bytes"] == 0


def test_a_deadline_ends_a_job_in_hand_unless_it_is_proven(queue, accepted, clock):
    unproven, proven = accepted(deadline=clock.now + 60), accepted(deadline=clock.now + 60)
    leases = {lease.job_id: lease for lease in queue.lease("w", 300, None, most=2)}
    leases[proven].proven(BUNDLE, record(leases[proven]))
    clock.now += 61
    assert queue.sweep()["expired"] == 1
    assert queue.held(list(leases.values())) == {proven}
    assert leases[unproven].lost
    leases[proven].done(None)
    assert queue.job(proven).state is JobState.PUBLISHED


def test_a_cancelled_job_is_taken_from_its_worker(queue, accepted):
    job = accepted()
    (lease,) = queue.lease("w", 30, None)
    assert queue.cancel(job).state is JobState.CANCELLED
    assert not lease.renew(30)
    with pytest.raises(LeaseLost):
        lease.proven(BUNDLE, record(lease))
    assert queue.cancel("00" * 32) is None


def test_a_proven_job_cannot_be_cancelled(queue, accepted):
    job = accepted()
    (lease,) = queue.lease("w", 30, None)
    lease.proven(BUNDLE, record(lease))
    assert queue.cancel(job).state is JobState.PUBLISHING
    lease.done(REFERENCE)
    assert queue.cancel(job).state is JobState.PUBLISHED


def test_a_job_that_ran_out_of_memory_asks_for_more(queue, accepted, clock):
    accepted(memory_bytes=2**30)
    (lease,) = queue.lease("w", 30, Memory(2**30, 2**33))
    lease.failed("too little", memory_bytes=2**31)
    clock.now += 10
    assert queue.lease("w", 30, Memory(2**30, 2**33)) == []
    assert queue.lease("w", 30, Memory(2**31, 2**33))[0].memory_bytes == 2**31
