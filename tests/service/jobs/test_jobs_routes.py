from __future__ import annotations

import json
import threading
import time

import pytest

from balance_core.service.auth import Scope
from balance_core.service.jobs import JobState
from balance_core.service.receipts import SignedReceipt
from tests.service.live import serving


@pytest.fixture(scope="module")
def proving(tmp_path_factory):
    """A provider that proves."""
    with serving(tmp_path_factory.mktemp("proving")) as served:
        yield served


@pytest.fixture(scope="module")
def accepting(tmp_path_factory):
    """A provider that accepts jobs, and has nobody to prove them."""
    with serving(tmp_path_factory.mktemp("accepting"), keyed=True, provers=0) as served:
        yield served


def asked(served) -> str:
    response = served.infer(proof="later")
    assert response.status_code == 200, response.text
    receipt = SignedReceipt.from_json(response.json()["parameters"]["balance_receipt"].encode())
    assert receipt.receipt.job_id is not None
    return receipt.receipt.job_id


def told(client, job_id: str, **options) -> list[dict]:
    """Follow a job to its end, and return what was told."""
    found = []
    with client.stream("GET", f"/v1/jobs/{job_id}/events", timeout=60, **options) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        block: dict[str, str] = {}
        for line in response.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                block[name] = value
            elif "data" in block:
                event = json.loads(block["data"])
                assert (str(event["number"]), event["state"]) == (block["id"], block["event"])
                found.append(event)
                block = {}
    return found


def test_events_follow_a_job_from_the_queue_to_the_chain(proving):
    job_id = asked(proving)
    events = told(proving.client, job_id)
    told_once = [event["state"] for event in events if event["state"] != "proving" or not event["text"]]
    assert told_once == ["queued", "proving", "publishing", "published"]
    job = proving.client.get(f"/v1/jobs/{job_id}").json()
    assert (job["state"], job["chain_ref"]["chain"]) == ("published", "ledger")
    bundle = proving.client.get(f"/v1/bundles/{job['bundle']}")
    assert bundle.status_code == 200


def test_whoever_was_cut_off_goes_on_behind_the_last_event(proving):
    job_id = asked(proving)
    events = told(proving.client, job_id)
    rest = told(proving.client, job_id, headers={"Last-Event-ID": str(events[1]["number"])})
    assert rest == events[2:]
    assert told(proving.client, job_id, params={"after": events[-1]["number"]}) == []


def test_a_cancelled_job_ends_the_stream_of_whoever_follows_it(accepting):
    job_id = asked(accepting)
    found: list[dict] = []
    follower = threading.Thread(target=lambda: found.extend(told(accepting.client, job_id)))
    follower.start()
    time.sleep(0.5)
    answer = accepting.client.delete(f"/v1/jobs/{job_id}")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    follower.join(30)
    assert [event["state"] for event in found] == ["queued", "cancelled"]
    assert accepting.provider.queue.counts()["input_bytes"] == 0
    assert accepting.client.delete(f"/v1/jobs/{job_id}").json()["state"] == "cancelled"


def test_a_failure_is_told_by_its_kind_and_not_by_what_it_says_of_the_provider(accepting):
    job_id = asked(accepting)
    queue = accepting.provider.queue
    (lease,) = [one for one in queue.lease("w", 30, None, most=99) if one.job_id == job_id]
    lease.failed("ToolFailed: see /home/provider/logs", retry=False)
    assert accepting.client.get(f"/v1/jobs/{job_id}").json()["reason"] == "ToolFailed"
    assert told(accepting.client, job_id)[-1]["text"] == "ToolFailed"
    assert queue.job(job_id).reason == "ToolFailed: see /home/provider/logs"


@pytest.mark.parametrize("verb", ["get", "delete"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/jobs/" + "00" * 32, 404),
        ("/v1/jobs/" + "00" * 32 + "/events", 404),
        ("/v1/jobs/../receipts", 404),
        ("/v1/jobs/%2e%2e%2fetc%2fpasswd", 404),
        ("/v1/jobs/xyz", 400),
        ("/v1/jobs/" + "0" * 10_000, 400),
    ],
)
def test_jobs_that_are_not_there_get_a_plain_refusal(accepting, verb, path, status):
    response = getattr(accepting.client, verb)(path)
    if verb == "delete" and path.endswith("events"):
        status = 405
    assert response.status_code in {status, 404}
    assert set(response.json()) == {"error", "hint", "type"}


@pytest.mark.parametrize("number", ["-1", "1e9", "9" * 30, "a"])
def test_a_last_event_that_is_no_number_is_refused(accepting, number):
    job_id = asked(accepting)
    response = accepting.client.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": number})
    assert response.status_code == 400
    response = accepting.client.get(f"/v1/jobs/{job_id}/events", params={"after": number})
    assert response.status_code == 400


def test_only_keys_that_may_prove_follow_and_cancel(accepting):
    job_id = asked(accepting)
    weak = accepting.keys.create("weak", (Scope.INFER,))[0]
    headers = {"Authorization": f"Bearer {weak}"}
    for call in (accepting.client.get, accepting.client.delete):
        assert call(f"/v1/jobs/{job_id}", headers=headers).status_code == 403
    assert accepting.client.get(f"/v1/jobs/{job_id}/events", headers=headers).status_code == 403
    assert accepting.provider.queue.job(job_id).state is JobState.QUEUED
