"""The service over HTTP: what it tells of itself, what it keeps, and how it refuses."""

import json
import logging
import ssl
import time

import httpx
import numpy as np
import pytest

from balance_core.bundle import Bundle
from balance_core.service import wire
from balance_core.service.logs import REQUESTS, JsonLines
from balance_core.service.receipts import SignedReceipt
from balance_core.service.routes.inference import EXAMPLE
from balance_core.service.serving import Place
from balance_core.signing import SignedRegistration
from tests.service.live import NAME, SAMPLES, X, serving, until


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("home"), limits={"waiting": 1, "burst": 10_000}) as found:
        yield found


def test_an_answer_carries_its_receipt_and_stays_with_the_provider(served):
    found = served.infer(X).json()
    signed = SignedReceipt.from_json(found["parameters"]["balance_receipt"].encode())
    kept = served.client.get(f"/v1/receipts/{signed.receipt_id}")
    assert SignedReceipt.from_json(kept.content) == signed
    (output,) = found["outputs"]
    assert np.array_equal(np.array(output["data"], np.float32), signed.receipt.outputs[0].real().ravel())


def test_a_proof_can_be_asked_for_later_and_is_fetched_by_its_address(served):
    signed = SignedReceipt.from_json(served.infer(SAMPLES[1]).json()["parameters"]["balance_receipt"].encode())
    ordered = served.client.post(f"/v1/receipts/{signed.receipt_id}/proof")
    assert ordered.status_code == 202
    job = served.finished(ordered.json()["job_id"])
    fetched = served.client.get(f"/v1/bundles/{job.bundle}")
    bundle = Bundle.from_bytes(fetched.content)
    assert bundle.registration_id == signed.receipt.registration_id


def test_the_registration_is_told_with_its_signature(served):
    (listed,) = served.client.get("/v1/registrations").json()["registrations"]
    signed = SignedRegistration.from_json(served.client.get(f"/v1/registrations/{listed['registration_id']}").content)
    assert signed.check() == served.provider.registration
    assert listed["sound"] is False


def test_it_is_watched_by_health_and_metrics(served):
    assert served.client.get("/v2/health/live").json() == {"live": True}
    assert served.client.get("/v2/health/ready").json() == {"ready": True}
    served.infer(X)
    served.client.get("/v2/models/../../x")
    counted = 'route="/v2/models/{name}/infer",status="200"'  # behind the answer
    until(lambda: counted in served.client.get("/metrics").text)
    text = served.client.get("/metrics").text
    assert 'balance_jobs{state="published"}' in text
    assert "balance_receipts " in text
    assert NAME not in text, "a label for each address that somebody makes up would fill the memory"


def test_every_answer_has_the_headers_for_safety(served):
    for found in (served.infer(X), served.client.get("/nowhere"), served.client.get("/v2/health/live")):
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["cache-control"] == "no-store"
        assert found.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in found.headers["content-security-policy"]
        assert len(found.headers["x-request-id"]) == 16
        assert "server" not in found.headers
        assert "access-control-allow-origin" not in found.headers


def test_its_description_is_whole_and_its_examples_are_right(served):
    described = served.client.get("/openapi.json").json()
    paths = described["paths"]
    assert {
        "/v2/models/{name}/infer",
        "/v2/health/ready",
        "/v1/registrations",
        "/v1/receipts/{receipt_id}/proof",
        "/v1/bundles/{address}",
        "/v1/jobs/{job_id}/events",
    } <= set(paths)
    schemas = described["components"]["schemas"]
    text = json.dumps(described)
    for reference in set(text.split('"#/components/schemas/')[1:]):
        assert reference.partition('"')[0] in schemas
    assert all(operation.get("summary") for path in paths.values() for operation in path.values())
    infer = paths["/v2/models/{name}/infer"]["post"]
    content = infer["requestBody"]["content"]["application/json"]
    assert wire.asked(wire.InferRequest.model_validate(content["example"]).parameters).proof == "later"
    answer = infer["responses"]["200"]["content"]["application/json"]["example"]
    assert wire.given(wire.InferResponse.model_validate(answer).parameters).job
    assert content["example"] == EXAMPLE


def test_too_much_at_once_is_told_when_to_come_back(tmp_path):
    with serving(tmp_path, provers=0, limits={"requests_per_second": 0.5, "burst": 3}) as served:
        found = [served.infer(X) for _ in range(5)]
        assert [one.status_code for one in found] == [200, 200, 200, 429, 429]
        assert found[-1].json()["type"] == "Busy"
        assert 1 <= int(found[-1].headers["retry-after"]) <= 2
        assert served.provider.queue.counts()["receipts"] == 3


def test_other_names_of_a_service_without_keys_are_not_its_own(served):
    found = served.client.get("/v2", headers={"Host": "rebound.example"})
    assert found.status_code == 421


def logged(caplog, wanted):
    """The wanted log entries: the log is written behind the answer."""
    for _ in range(500):
        entries = [record.entry for record in caplog.records if record.name == REQUESTS and wanted(record.entry)]
        if entries:
            return entries
        time.sleep(0.02)
    raise AssertionError("nothing such is logged within ten seconds")


def test_an_error_of_the_provider_tells_nothing_of_its_inside(served, monkeypatch, caplog):
    def broken(*_args, **_more):
        raise RuntimeError("secret path /etc/hidden")

    monkeypatch.setattr(served.provider, "respond", broken)
    with caplog.at_level(logging.INFO, REQUESTS):
        found = served.infer(X)
    assert found.status_code == 500
    assert found.json()["type"] == "InternalError"
    assert "hidden" not in found.text
    (entry,) = logged(caplog, lambda entry: entry["status"] == 500)
    assert entry["request"] == found.headers["x-request-id"]
    assert "hidden" in entry["message"]


def test_logs_are_json_and_hold_no_key_no_query_and_no_input(tmp_path, caplog):
    with serving(tmp_path, keyed=True, provers=0) as served, caplog.at_level(logging.INFO, REQUESTS):
        secret = served.client.headers["Authorization"].removeprefix("Bearer ")
        served.client.get("/v2?token=geheim")
        served.infer(np.full((1, 4), 123.4375, np.float32))
        logged(caplog, lambda entry: entry["route"] == "/v2")
        logged(caplog, lambda entry: entry["route"] == "/v2/models/{name}/infer")
    lines = [JsonLines().format(record) for record in caplog.records if record.name == REQUESTS]
    entries = [json.loads(line) for line in lines]
    assert {entry["route"] for entry in entries} >= {"/v2", "/v2/models/{name}/infer"}
    assert {entry["caller"] for entry in entries} == {f"key {secret.split('_')[1]}"}
    text = "\n".join(lines)
    for hidden in (secret.split("_", 2)[2], "geheim", "123.4375"):
        assert hidden not in text


def certificate(folder):
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "here")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(1))
        .not_valid_after(now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def test_it_speaks_tls_where_it_has_a_certificate(tmp_path):
    cert, key = certificate(tmp_path)
    with serving(tmp_path / "home", place=Place(certificate=cert, private_key=key), provers=0) as served:
        trusted = ssl.create_default_context(cafile=str(cert))
        with httpx.Client(base_url=served.url, verify=trusted) as client:
            found = client.get("/v2/health/ready")
        assert served.url.startswith("https://")
        assert found.json() == {"ready": True}
        assert "max-age" in found.headers["strict-transport-security"]
        with pytest.raises(httpx.HTTPError):
            httpx.get(served.url.replace("https", "http"))
