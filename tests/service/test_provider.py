"""A provider answers exactly what it can prove, and is held to it by receipts that are on the disk."""

import os
import signal

import numpy as np
import pytest

import balance_core
from balance_core.errors import BlobNotFound, ConfigError, PluginNotFound, Rejected, StageTimeout, ToolFailed
from balance_core.service.jobs import JobQueue, JobState
from balance_core.service.provider import Provider
from balance_core.service.receipts import check_receipt, matching, request_sha256
from tests.service.live import NAME, SAMPLES, X, home, provider, settled


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with home(tmp_path_factory.mktemp("home")), provider(answerers=2) as found:
        yield found


def finished(found, job):
    return settled(found, job.job_id)


def test_an_answer_has_a_receipt_that_its_provider_signed(served):
    answer = served.infer(X)
    receipt = check_receipt(answer.receipt, served.registration.provider)
    assert receipt.registration_id == served.registration.registration_id
    assert receipt.input_sha256 == request_sha256({"x": X})
    assert (receipt.proof, receipt.job_id, answer.job) == ("none", None, None)
    assert served.queue.receipt(answer.receipt.receipt_id) == answer.receipt
    (tensor,) = receipt.outputs
    assert np.array_equal(answer.outputs["y"], tensor.real().astype(np.float32))
    assert answer.outputs["y"].dtype == np.float32


def test_what_is_answered_is_what_is_proven_bit_for_bit(served):
    answer = served.infer(X, proof="now")
    job = finished(served, answer.job)
    assert job.state is JobState.PUBLISHED, job.reason
    with served.storage.open(job.bundle, max_size=2**24) as stream:
        verified = balance_core.verify(stream.read(), registration=served.registration, chain="ledger")
    statement = matching(answer.receipt.receipt, verified)
    assert statement.outputs == answer.receipt.receipt.outputs
    assert statement.inputs_digest == answer.receipt.receipt.input_digest
    assert statement.context == answer.receipt.receipt.context


def test_an_answer_without_a_proof_is_proven_when_asked(served):
    answer = served.infer(X)
    job = finished(served, served.prove(answer.receipt.receipt_id))
    assert job.state is JobState.PUBLISHED
    assert job.job_id == answer.receipt.receipt.job
    with pytest.raises(BlobNotFound, match="no receipt"):
        served.prove("00" * 32)


def test_the_same_request_gets_the_same_receipt_and_its_nonce_no_other_input(served):
    nonce = os.urandom(32).hex()
    first = served.infer(X, nonce=nonce)
    before = served.queue.counts()
    assert served.infer(X, nonce=nonce).receipt == first.receipt
    with pytest.raises(Rejected, match="named another request"):
        served.infer(X + 1, nonce=nonce)
    assert served.queue.counts() == before


def test_a_request_that_failed_does_not_use_its_nonce_up(served):
    nonce = os.urandom(32).hex()
    with pytest.raises(ConfigError, match="not numbers"):
        served.infer(X * np.nan, nonce=nonce)
    assert served.infer(X, nonce=nonce).receipt.receipt.nonce == nonce


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"y": X}, "not the model's inputs"),
        ({"x": X, "y": X}, "not the model's inputs"),
        (np.zeros((1, 5), np.float32), "shape"),
        (np.array([["a", "b", "c", "d"]]), "shape"),
        ({"x": [[1, 2], [3]]}, "lengths"),
        (np.array([[2**60 + 1, 0, 0, 0]]), "does not"),
    ],
)
def test_what_the_model_does_not_take_is_refused(served, inputs, reason):
    before = served.queue.counts()
    with pytest.raises(ConfigError, match=reason):
        served.infer(inputs)
    assert served.queue.counts() == before


def test_a_backend_that_cannot_hide_inputs_says_so(served):
    assert not served.capabilities.private_input
    with pytest.raises(ConfigError, match="does not hide inputs"):
        served.infer(X, visibility="private")


def test_another_registration_than_the_one_relied_on_is_refused(served):
    with pytest.raises(Rejected, match="served under the registration"):
        served.infer(X, registration="00" * 32)
    assert served.infer(X, registration=served.registration.registration_id).job is None


def test_a_killed_process_costs_its_own_answer_and_no_other(served):
    answerers = served._started.answerers
    for member in answerers._members:
        os.kill(member._process.pid, signal.SIGKILL)
    failures = 0
    for _ in range(4):
        try:
            assert served.infer(X).receipt.receipt.outputs
        except ToolFailed:
            failures += 1
    assert failures <= len(answerers._members)
    assert served.infer(X).receipt.receipt.outputs


def test_an_answer_that_takes_too_long_is_given_up(served):
    member = served._started.answerers._members[0]
    member.start()
    os.kill(member._process.pid, signal.SIGSTOP)
    seconds, member._seconds = member._seconds, 0.2
    try:
        with pytest.raises(StageTimeout, match="more than"):
            member.answer({"x": X})
    finally:
        member._seconds = seconds
    assert member.answer({"x": X}).outputs


def test_receipts_outlive_the_service_and_its_name_is_enough_to_serve_again(tmp_path):
    with home(tmp_path):
        with provider(provers=0) as first:
            answer = first.infer(X, proof="later")
            registered = first.registration
        with Provider(NAME, service={"provers": 0}) as again:
            assert again.registration == registered
            assert again.queue.receipt(answer.receipt.receipt_id) == answer.receipt
            assert again.queue.job(answer.job.job_id).state is JobState.QUEUED
            assert again.infer(X).receipt.receipt.outputs == answer.receipt.receipt.outputs


def test_inputs_are_kept_only_where_the_provider_keeps_them(tmp_path):
    with home(tmp_path), provider(provers=0, keep_inputs=False) as found:
        answer = found.infer(SAMPLES[1])
        assert found.queue.counts()["input_bytes"] == 0
        with pytest.raises(ConfigError, match="not kept"):
            found.prove(answer.receipt.receipt_id)


def test_a_provider_that_cannot_serve_says_why(tmp_path):
    with home(tmp_path):
        with pytest.raises(ConfigError, match="neither a file nor a registration"):
            Provider("nothing.onnx", backend="integer").register()
        with pytest.raises(ConfigError, match="no setting 'provrs'"):
            Provider("x.onnx", service={"provrs": 2})
        with pytest.raises(PluginNotFound):
            Provider(provider().model, backend="nothing").register()
        with pytest.raises(ConfigError, match="storage"):
            Provider(NAME, storage=None, service={}).start() if provider().register() else None
    with home(tmp_path / "other"):
        registered = provider()
        registered.register()
        (tmp_path / "other" / "keys" / "default.key").unlink()
        with pytest.raises(ConfigError, match="is not the one"):
            registered.start()
    assert not JobQueue(tmp_path / "q.db").counts()["receipts"]


def test_a_restart_forgets_no_request(tmp_path):
    nonce = "7" * 64
    with home(tmp_path):
        with provider(provers=0) as before:
            first = before.infer(X, nonce=nonce)
            later = before.infer(X, nonce=nonce, proof="later")
        with provider(provers=0) as after:
            assert after.infer(X, nonce=nonce).receipt == first.receipt
            again = after.infer(X, nonce=nonce, proof="later")
            assert (again.receipt, again.job.job_id) == (later.receipt, later.job.job_id)
            with pytest.raises(Rejected, match="another request"):
                after.infer(SAMPLES[1], nonce=nonce)
            with pytest.raises(Rejected, match="another request"):
                after.infer(SAMPLES[1], nonce=nonce, proof="now")
            assert after.queue.counts()["receipts"] == 2


def test_two_processes_that_share_a_queue_answer_a_request_in_one_way(tmp_path):
    with home(tmp_path), provider(provers=0) as one, provider(provers=0) as other:
        assert one.infer(X, nonce="8" * 64).receipt == other.infer(X, nonce="8" * 64).receipt
        with pytest.raises(Rejected, match="another request"):
            other.infer(SAMPLES[1], nonce="8" * 64)
