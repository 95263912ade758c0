"""`POST /v1/verify` and the validator's own service: verdicts, refusals, limits, keys and metrics."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import threading
import time

import httpx
import pytest

from balance_core.chain import Attestation
from balance_core.records import Registration, SetupTrust, Trust
from balance_core.service.auth import KeyRing, Scope
from balance_core.service.serving import Listening, Place
from balance_core.service.validator.app import ValidatorService

from . import live
from .validating import Yard

BINARY = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def yard(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("verify")
        patch.setenv("BALANCE_HOME", str(home))
        yield Yard(home)


@pytest.fixture(scope="module")
def registration(yard):
    return yard.register()


@pytest.fixture(scope="module")
def validator(yard, registration):
    record = yard.publish(registration)
    liar = yard.person("liar").public
    yard.as_somebody("liar").attest(
        Attestation(proof_id=record.proof_id, statement_digest=record.statement_digest, valid=False, validator=liar),
        key="lie",
    )
    with yard.validator() as validator:
        validator.run(until_done=True)
        validator.record = record
        yield validator


@pytest.fixture(scope="module")
def client(validator):
    with served(ValidatorService(validator)) as client:
        yield client


@contextlib.contextmanager
def served(service, keys=None):
    """A client of a service that really listens."""
    place = Place()
    app = service.app(keys, hosts=place.hosts(keys))
    with Listening(app, place, service.limits) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def ask(client, data, **query):
    return client.post("/v1/verify", content=data, headers=BINARY, params=query)


class TestVerdicts:
    def test_a_valid_bundle_gives_its_statement_and_who_vouches(self, yard, registration, client):
        made, statement = yard.bundle(registration)
        found = ask(client, made.to_bytes())
        assert found.status_code == 200
        verdict = found.json()
        assert (verdict["valid"], verdict["complete"]) == (True, True)
        judgement = verdict["judgement"]
        assert judgement["statements"] == [statement.model_dump(mode="json")]
        assert judgement["registration_id"] == registration.registration_id
        assert [one["chain"] for one in judgement["vouched_by"]] == ["ledger"]

    def test_a_false_answer_gives_the_reason(self, yard, registration, client):
        made, _ = yard.bundle(registration, lie=True)
        found = ask(client, made.to_bytes())
        assert found.status_code == 200
        assert (found.json()["valid"], found.json()["reason"]) == (False, "the model answers otherwise")

    def test_a_registration_that_nobody_vouches_for_is_warned_of(self, yard, client):
        stranger = Registration(
            name="stranger",
            backend="integer",
            backend_version="2",
            circuit_id=yard.key.circuit_id,
            setup_trust=SetupTrust(trust=Trust.TRANSPARENT),
            provider=yard.provider.public,
        )
        verdict = ask(client, yard.bundle(stranger)[0].to_bytes()).json()
        assert verdict["judgement"]["vouched_by"] == []
        assert any("nobody vouches for" in warning for warning in verdict["warnings"])

    def test_an_unsound_backend_is_warned_of(self, yard, registration, client):
        verdict = ask(client, yard.bundle(registration)[0].to_bytes()).json()
        assert any("not sound" in warning for warning in verdict["warnings"])

    def test_another_registration_than_the_one_relied_on_is_not_valid(self, yard, registration, client):
        made, _ = yard.bundle(registration)
        assert ask(client, made.to_bytes(), registration="0" * 64).json()["valid"] is False

    def test_a_revoked_registration_is_not_valid(self, yard, client):
        revoked = yard.register("withdrawn")
        made, _ = yard.bundle(revoked)
        yard.revoke(revoked)
        verdict = ask(client, made.to_bytes()).json()
        assert verdict["valid"] is False
        assert "was revoked" in verdict["reason"]

    def test_a_bundle_of_the_storage_is_fetched_by_its_address(self, yard, registration, client):
        made, _ = yard.bundle(registration)
        address = yard.storage.put(io.BytesIO(made.to_bytes()))
        assert client.post("/v1/verify", json={"cid": address}).json()["valid"] is True

    @pytest.mark.parametrize("data", [b"", b"no bundle", b"PK\x03\x04", bytes(1000)])
    def test_what_is_no_bundle_proves_nothing(self, client, data):
        verdict = ask(client, data)
        assert (verdict.status_code, verdict.json()["valid"]) == (200, False)
        assert "no bundle" in verdict.json()["reason"]


class TestRefusals:
    def refused(self, answer, status):
        assert answer.status_code == status
        assert set(answer.json()) == {"error", "hint", "type"}
        assert "Traceback" not in answer.text

    def test_too_large_a_body(self, validator, client):
        connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=30)
        connection.putrequest("POST", "/v1/verify")
        connection.putheader("Content-Type", "application/octet-stream")
        connection.putheader("Content-Length", str(validator.settings.max_bundle_bytes + 1))
        connection.endheaders()  # it is refused by what it announces
        answer = connection.getresponse()
        assert (answer.status, set(json.load(answer))) == (413, {"error", "hint", "type"})
        connection.close()

    def test_more_bytes_than_all_requests_together_may_hold(self, validator):
        service = ValidatorService(validator)
        service.limits = service.limits.model_copy(update={"bodies_bytes": 100_000, "bundle_bytes": 95_000})
        with (
            served(service) as client,
            socket.create_connection((client.base_url.host, client.base_url.port)) as slow,
        ):
            slow.sendall(
                b"POST /v1/verify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 90000\r\n\r\n" + bytes(60_000)
            )
            deadline = time.monotonic() + 15
            while (answer := ask(client, bytes(60_000))).status_code != 429:
                assert time.monotonic() < deadline
            self.refused(answer, 429)
            slow.close()
            while (answer := ask(client, bytes(60_000))).status_code != 200:
                assert time.monotonic() < deadline

    def test_content_that_nobody_has(self, yard, client):
        address = yard.content(99, "unavailable")
        self.refused(client.post("/v1/verify", json={"cid": address}), 404)

    @pytest.mark.parametrize(
        "question",
        [
            {"cid": "../../etc/passwd"},
            {"cid": "http://127.0.0.1:1/"},
            {"cid": "b" + "a" * 58, "path": "/etc/passwd"},
            {"cid": None},
            {},
            [],
            "x",
        ],
    )
    def test_what_is_no_address(self, client, question):
        self.refused(client.post("/v1/verify", json=question), 400)

    def test_json_that_is_none(self, client):
        head = {"Content-Type": "application/json"}
        for body in (b"", b"{", b'{"cid": 1, "cid": 2}', b"[" * 4000):
            self.refused(client.post("/v1/verify", content=body, headers=head), 400)

    def test_another_kind_of_body(self, client):
        self.refused(client.post("/v1/verify", content=b"x", headers={"Content-Type": "text/html"}), 415)

    def test_a_registration_that_is_none(self, client):
        self.refused(ask(client, b"x", registration="../x"), 400)

    def test_two_registrations(self, client):
        question = {"cid": "b" + "a" * 58, "registration": "1" * 64}
        answer = client.post("/v1/verify", json=question, params={"registration": "2" * 64})
        self.refused(answer, 400)

    def test_more_at_once_than_there_are_slots(self, yard, registration, validator):
        service = ValidatorService(validator)
        with served(service) as client:
            for _ in range(service.desk.settings.at_once):
                service.desk._slots.acquire()
            answer = ask(client, yard.bundle(registration)[0].to_bytes())
        self.refused(answer, 429)
        assert int(answer.headers["Retry-After"]) >= 1


class TestKeys:
    def test_verifying_needs_a_key_of_its_scope_where_there_are_keys(self, tmp_path, validator):
        ring = KeyRing(tmp_path / "keys.json")
        good, bad = (ring.create(name, (scope,))[0] for name, scope in (("a", Scope.VERIFY), ("b", Scope.INFER)))
        with served(ValidatorService(validator), ring) as client:
            assert ask(client, b"x").status_code == 401
            for key, status in ((good, 200), (bad, 403), (good[:-1] + "!", 401)):
                headers = {**BINARY, "Authorization": f"Bearer {key}"}
                assert client.post("/v1/verify", content=b"x", headers=headers).status_code == status
            assert client.get("/metrics", headers={"Authorization": f"Bearer {good}"}).status_code == 403
            assert client.get("/v2/health/live").status_code == 200


class TestStanding:
    def test_status_and_proofs_are_told(self, validator, client):
        status = client.get("/v1/validator").json()
        assert (status["validator"], status["false_words"]) == (validator.public_key, 1)
        proof = client.get(f"/v1/validator/proofs/{validator.record.proof_id}").json()
        assert (proof["state"], proof["reason"]) == ("attested", "valid")
        assert client.get(f"/v1/validator/proofs/{'0' * 64}").status_code == 404
        assert client.get("/v1/validator/proofs/%2e%2e%2fkeys").status_code in {400, 404}

    def test_metrics_count_what_happened(self, client):
        lines = client.get("/metrics").text.splitlines()
        assert 'balance_validator_proofs{reason="valid",state="attested"} 1.0' in lines
        assert 'balance_validator_attested_total{valid="true"} 1.0' in lines
        assert "balance_validator_false_words 1.0" in lines
        peak = next(line for line in lines if line.startswith("balance_validator_peak_memory_bytes"))
        assert float(peak.split()[1]) > 2**20

    def test_ready_means_that_it_follows_the_chain(self, yard, client):
        assert client.get("/v2/health/ready").status_code == 200
        with yard.validator("other") as other, served(ValidatorService(other)) as idle:
            assert idle.get("/v2/health/ready").status_code == 503


def test_it_really_listens_and_answers_while_it_validates(yard, registration):
    record = yard.publish(registration)
    with yard.validator("listener") as validator:
        service = ValidatorService(validator)
        with served(service) as client:
            work = threading.Thread(target=validator.run)
            work.start()
            deadline = time.monotonic() + 60
            while not any(name == validator.public_key for _, name, _ in yard.words(record)):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert client.get("/v2/health/ready").json() == {"ready": True}
            made, _ = yard.bundle(registration)
            assert ask(client, made.to_bytes()).json()["valid"]
            forged = client.get("/v1/validator", headers={"Host": "evil.example"})
            assert forged.status_code == 421
            validator.stop()
            work.join()


def test_a_provider_verifies_for_others_too(tmp_path):
    with live.serving(tmp_path) as served:
        answer = served.provider.infer(live.X, proof="now")
        deadline = time.monotonic() + 60
        while served.provider.queue.job(answer.job.job_id).bundle is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        address = served.provider.queue.job(answer.job.job_id).bundle
        bundle = served.client.get(f"/v1/bundles/{address}").content
        verdict = ask(served.client, bundle).json()
        assert (verdict["valid"], verdict["judgement"]["vouched_by"][0]["chain"]) == (True, "ledger")
        assert verdict["judgement"]["statements"][0]["context"] == answer.receipt.receipt.context
        assert served.client.post("/v1/verify", json={"cid": address}).json()["valid"] is True
        broken = bytearray(bundle)
        broken[len(bundle) // 2] ^= 1
        assert ask(served.client, bytes(broken)).json()["valid"] is False


def test_the_command_line_runs_a_validator_and_shows_how_it_stands(yard, registration, capsys):
    from balance_core.cli import invoke

    yard.publish(registration)
    yard.person("clerk")
    memory = str(yard.home / "clerk.db")
    options = ["-o", "chain.key=clerk", "-o", "validator.unsound=attest", "-o", "validator.tries=1"]
    options += ["-o", "validator.poll_seconds=0.05", "--memory", memory, "--until-done", "--quiet", "--json"]
    assert invoke(["validator", "run", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["waiting"] == 0
    assert invoke(["validator", "status", "--memory", memory, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == told
    assert invoke(["validator", "status", "--memory", memory, "--proof", "0" * 64]) == 2
    assert invoke(["validator", "run", "-o", "martian.x=1"]) == 2
    assert invoke(["validator", "run", "--listen", "nowhere"]) == 2
