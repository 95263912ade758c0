"""Whatever a hostile client sends gets its refusal, and leaves no trace among jobs and receipts."""

import json
import logging
import socket
import time
import urllib.parse

import numpy as np
import pytest

from balance_core.service import wire
from balance_core.service.auth import Scope
from balance_core.service.logs import REQUESTS
from tests.service.live import NAME, SAMPLES, X, serving, until

LIMITS = {
    "body_bytes": 20_000,
    "body_seconds": 0.6,
    "head_seconds": 0.6,
    "answer_seconds": 20.0,
    "requests_per_second": 10_000.0,
    "burst": 10_000,
}
INFER = f"/v2/models/{NAME}/infer"
NONCE = "5a" * 32


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("home"), keyed=True, provers=0, limits=LIMITS) as found:
        assert found.infer(nonce=NONCE).status_code == 200
        yield found


def tensor(**changes):
    return {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0], **changes}


def body(*tensors, **more):
    return json.dumps({"inputs": list(tensors) or [tensor()], **more}).encode()


def asking(**parameters):
    return body(parameters={f"balance_{name}": value for name, value in parameters.items()})


def binary(size, data, **more):
    text = body(tensor(data=None, parameters={"binary_data_size": size}), **more)
    return text + data, {wire.HEADER_LENGTH: str(len(text))}


HUGE = b"[" * 9000 + b"]" * 9000
CONTENT = {
    "nothing": (b"", 400),
    "no JSON": (b"\x00\xff\xfe", 400),
    "half of it": (body()[:-5], 400),
    "a list": (b"[]", 400),
    "null": (b"null", 400),
    "nesting without end": (HUGE, 400),
    "nesting in a tensor": (body(tensor(data=[])).replace(b"[]", HUGE), 400),
    "no inputs": (b'{"inputs": []}', 400),
    "the wrong input": (body(tensor(name="z")), 400),
    "an input twice": (body(tensor(), tensor()), 400),
    "one input too many": (body(tensor(), tensor(name="z")), 400),
    "300 inputs": (json.dumps({"inputs": [{"name": "x", "shape": [], "datatype": "BOOL"}] * 300}).encode(), 400),
    "unknown fields": (body(surprise=1), 400),
    "a shape too small": (body(tensor(shape=[1, 3], data=[1, 2, 3])), 400),
    "a shape too large": (body(tensor(shape=[1, 5], data=[1, 2, 3, 4, 5])), 400),
    "a shape that overflows": (body(tensor(shape=[2**31 - 1, 2**31 - 1])), 400),
    "a shape below zero": (body(tensor(shape=[-1, -4])), 400),
    "a shape of text": (body(tensor(shape="1,4")), 400),
    "a shape of fractions": (body(tensor(shape=[1, 4.5])), 400),
    "40 axes": (body(tensor(shape=[1] * 39 + [4])), 400),
    "a batch of two": (body(tensor(shape=[2, 4], data=[1.0] * 8)), 400),
    "another type": (body(tensor(datatype="FP64")), 400),
    "bytes for a type": (body(tensor(datatype="BYTES", data=["a", "b", "c", "d"])), 400),
    "an unknown type": (body(tensor(datatype="FP31")), 400),
    "texts for numbers": (body(tensor(data=["1", "2", "3", "4"])), 400),
    "one long text": (body(tensor(data=["a" * 9000, 1, 2, 3])), 400),
    "objects for numbers": (body(tensor(data=[{}, 1, 2, 3])), 400),
    "null for numbers": (body(tensor(data=[None, 1, 2, 3])), 400),
    "NaN in JSON": (body(tensor(data=[float("nan"), 1, 2, 3])), 400),
    "infinity in JSON": (body(tensor(data=[float("inf"), 1, 2, 3])), 400),
    "a number beyond the type": (body(tensor(data=[1e39, 1, 2, 3])), 400),
    "an integer of 5000 digits": (body(tensor(data=[0, 1, 2, 3])).replace(b"[0,", b"[" + b"9" * 5000 + b","), 400),
    "too few numbers": (body(tensor(data=[1.0])), 400),
    "too many numbers": (body(tensor(data=[1.0] * 2000)), 400),
    "ragged rows": (body(tensor(data=[[1, 2, 3], 4])), 400),
    "shared memory": (body(tensor(data=None, parameters={"shared_memory_region": "x"})), 400),
    "a path for an output": (body(outputs=[{"name": "../../etc/passwd"}]), 400),
    "an output that is not there": (body(outputs=[{"name": "z"}]), 400),
    "classification": (body(outputs=[{"name": "y", "parameters": {"classification": 3}}]), 400),
    "a parameter that is an object": (body(parameters={"a": {"b": 1}}), 400),
    "a proof of an unknown kind": (asking(proof="forged"), 400),
    "a nonce too short": (asking(nonce="5a"), 400),
    "a nonce of capital letters": (asking(nonce="5A" * 32), 400),
    "a nonce that is a number": (asking(nonce=5), 400),
    "an unknown wish": (asking(free=True), 400),
    "a private input": (asking(visibility="private", proof="later"), 400),
    "another registration": (asking(registration="00" * 32, proof="later"), 409),
    "a used nonce for another input": (asking(nonce=NONCE), 409),
    "a used nonce for a proof of another input": (asking(nonce=NONCE, proof="now"), 409),
    "a body too large": (body(tensor(data=[1.0] * 5000)), 413),
}


def trace(served):
    return served.provider.queue.counts()


def refused(response, status):
    assert response.status_code == status, response.text
    problem = response.json()
    assert set(problem) == {"error", "hint", "type"}
    assert problem["error"]
    for inside in ("Traceback", "/site-packages/", "/balance_core/", "tmp"):
        assert inside not in response.text


@pytest.mark.parametrize("name", CONTENT)
def test_hostile_content(served, name):
    content, status = CONTENT[name]
    before = trace(served)
    refused(served.client.post(INFER, content=content), status)
    assert trace(served) == before


NAN = np.array([np.nan, 1, 2, 3], np.float32).tobytes()
BINARY = {
    "fewer bytes than announced": binary(16, b"\0" * 12),
    "more bytes than announced": binary(16, b"\0" * 20),
    "a size below zero": binary(-16, b"\0" * 16),
    "a size beyond all": binary(2**63, b"\0" * 16),
    "a size that is text": binary("16", b"\0" * 16),
    "a size that is true": binary(True, b"\0"),
    "NaN in bytes": binary(16, NAN),
    "a header length beyond the body": (body(), {wire.HEADER_LENGTH: "99999"}),
    "a header length below zero": (body(), {wire.HEADER_LENGTH: "-1"}),
    "a header length of words": (body(), {wire.HEADER_LENGTH: "all"}),
    "a header length of zero": (body(), {wire.HEADER_LENGTH: "0"}),
}


@pytest.mark.parametrize("name", BINARY)
def test_hostile_binary_tensors(served, name):
    content, headers = BINARY[name]
    before = trace(served)
    refused(served.client.post(INFER, content=content, headers=headers), 400)
    assert trace(served) == before


ADDRESSES = {
    "climbing": ("POST", "/v2/models/../../../etc/passwd/infer", 404),
    "climbing, encoded": ("POST", "/v2/models/..%2f..%2f..%2fetc%2fpasswd/infer", 404),
    "climbing, encoded twice": ("POST", "/v2/models/%252e%252e%252fetc/infer", 404),
    "a null byte": ("POST", f"/v2/models/{NAME}%00/infer", 404),
    "another model": ("POST", "/v2/models/other/infer", 404),
    "another version": ("POST", f"/v2/models/{NAME}/versions/9/infer", 404),
    "loading a model": ("POST", f"/v2/repository/models/{NAME}/load", 404),
    "shared memory": ("POST", "/v2/systemsharedmemory/region/x/register", 404),
    "a method that is not": ("DELETE", INFER, 405),
    "a method of nobody": ("BREW", INFER, 405),
    "a bundle by path": ("GET", "/v1/bundles/..%2f..%2fkeys%2fdefault.key", 404),
    "a bundle that is not ours": (
        "GET",
        "/v1/bundles/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
        404,
    ),
    "no address": ("GET", "/v1/bundles/passwd", 400),
    "a receipt of nobody": ("GET", f"/v1/receipts/{'0' * 64}", 404),
    "a proof of nobody's receipt": ("POST", f"/v1/receipts/{'0' * 64}/proof", 404),
    "a receipt by injection": ("GET", "/v1/receipts/' OR 1=1 --", 400),
    "a job by injection": ("GET", "/v1/jobs/'; DROP TABLE jobs; --", 400),
    "a registration of nobody": ("GET", f"/v1/registrations/{'0' * 64}", 404),
    "the page with scripts": ("GET", "/docs", 404),
    "a slash behind": ("GET", "/v2/", 404),
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_hostile_addresses(served, name):
    method, address, status = ADDRESSES[name]
    before = trace(served)
    url = served.client.base_url.copy_with(raw_path=urllib.parse.quote(address, safe="/%.;'=").encode())
    refused(served.client.request(method, url, content=body() if method == "POST" else None), status)
    assert trace(served) == before


KEYS = {
    "none": {},
    "empty": {"Authorization": ""},
    "no word": {"Authorization": "Bearer"},
    "another scheme": {"Authorization": "Basic YWRtaW46YWRtaW4="},
    "made up": {"Authorization": f"Bearer balance_{'0' * 16}_{'A' * 43}"},
    "long": {"Authorization": "Bearer " + "A" * 8000},
    "odd letters": {"Authorization": b"Bearer balance_\xff\xfe"},
    "twice": [("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
}


@pytest.mark.parametrize("name", KEYS)
def test_forged_keys_all_get_the_same_answer(served, name):
    import httpx

    before = trace(served)
    with httpx.Client(base_url=served.url) as client:
        found = client.post(INFER, content=asking(proof="now"), headers=KEYS[name])
    refused(found, 401)
    assert found.json() == {
        "error": "this needs a valid API key",
        "hint": "send it as `Authorization: Bearer balance_...`",
        "type": "Unauthorized",
    }
    assert found.headers["www-authenticate"] == "Bearer"
    assert trace(served) == before


def test_a_right_id_with_a_wrong_secret_an_ended_and_a_revoked_key_get_that_answer_too(served):
    text, key = served.keys.create("mallory", tuple(Scope))
    wrong = text[:-4] + ("AAAA" if text[-4:] != "AAAA" else "BBBB")
    ended, _ = served.keys.create("past", tuple(Scope), days=-1)
    assert served.client.get("/v2", headers={"Authorization": f"Bearer {text}"}).status_code == 200
    served.keys.revoke(key.key_id)
    answers = [served.client.get("/v2", headers={"Authorization": f"Bearer {one}"}) for one in (wrong, ended, text)]
    assert [one.status_code for one in answers] == [401] * 3
    assert len({one.text for one in answers}) == 1


def test_a_key_is_good_for_its_scopes_alone(served):
    before = trace(served)
    infer, _ = served.keys.create("reader", (Scope.INFER,))
    verify, _ = served.keys.create("checker", (Scope.VERIFY,))

    def ask(key, method, path, content=None):
        return served.client.request(method, path, content=content, headers={"Authorization": f"Bearer {key}"})

    for key, method, path, content in (
        (verify, "POST", INFER, body()),
        (verify, "GET", f"/v1/receipts/{'0' * 64}", None),
        (infer, "POST", INFER, asking(proof="now")),
        (infer, "POST", INFER, asking(proof="later")),
        (infer, "POST", f"/v1/receipts/{'0' * 64}/proof", None),
        (infer, "DELETE", f"/v1/jobs/{'0' * 64}", None),
        (infer, "GET", "/metrics", None),
    ):
        refused(ask(key, method, path, content), 403)
    assert trace(served) == before


HEADERS = {
    "another site's page": ({"Origin": "https://evil.example"}, 403),
    "a page of nowhere": ({"Origin": "null"}, 403),
    "a browser, from elsewhere": ({"Sec-Fetch-Site": "cross-site"}, 403),
    "a compressed body": ({"Content-Encoding": "gzip"}, 415),
}


@pytest.mark.parametrize("name", HEADERS)
def test_hostile_headers(served, name):
    headers, status = HEADERS[name]
    before = trace(served)
    refused(served.client.post(INFER, content=asking(proof="now"), headers=headers), status)
    assert trace(served) == before


def preflight(served):
    return served.client.options(
        INFER, headers={"Access-Control-Request-Method": "POST", "Origin": "https://a.example"}
    )


def test_no_page_of_another_site_is_let_in(served):
    found = preflight(served)
    assert found.status_code == 403
    assert not [name for name in found.headers if name.startswith("access-control")]


def raw(served, *pieces, wait=0.0):
    """Send pieces of bytes with pauses, and return what came back."""
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as link:
        for piece in pieces:
            try:
                link.sendall(piece)
            except OSError:
                break
            time.sleep(wait)
        found = b""
        try:
            while part := link.recv(65536):
                found += part
                if b'"type"' in found:
                    break
        except OSError:
            pass
        return found


def head(served, *lines):
    key = served.client.headers["Authorization"]
    first = [f"POST {INFER} HTTP/1.1", "Host: a", f"Authorization: {key}", *lines]
    return "\r\n".join(first).encode() + b"\r\n\r\n"


@pytest.mark.parametrize("length", ["999999999999", "9" * 20])
def test_a_length_beyond_the_limit_is_refused_before_anything_is_read(served, length):
    before = trace(served)
    found = raw(served, head(served, f"Content-Length: {length}"))
    assert b" 413 " in found.splitlines()[0]
    assert trace(served) == before


def test_a_slow_body_is_cut_off(served):
    before, began = trace(served), time.monotonic()
    content = asking(proof="now")
    found = raw(served, head(served, f"Content-Length: {len(content)}"), content[:10])
    assert b" 408 " in found.splitlines()[0]
    assert b"connection: close" in found.lower()
    assert time.monotonic() - began < 5
    assert trace(served) == before


def test_a_body_that_drips_is_cut_off(served):
    before = trace(served)
    content = asking(proof="now")
    drops = [content[i : i + 1] for i in range(12)]
    found = raw(served, head(served, f"Content-Length: {len(content)}"), *drops, wait=0.1)
    assert b" 408 " in found.splitlines()[0]
    assert trace(served) == before


def test_a_body_in_chunks_without_end_is_cut_off(served):
    before = trace(served)
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    found = raw(served, head(served, "Transfer-Encoding: chunked"), chunk, chunk, chunk)
    assert b" 413 " in found.splitlines()[0]
    assert trace(served) == before


@pytest.mark.parametrize("start", [b"", b"POST ", b"POST / HTTP/1.1\r\nHost: a\r\nX: "])
def test_a_head_that_does_not_end_is_cut_off(served, start):
    began = time.monotonic()
    assert raw(served, start) == b""
    assert 0.3 < time.monotonic() - began < 5


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(served, sent):
    before = trace(served)
    found = raw(served, sent)
    assert found == b"" or found.split(b" ")[1].startswith(b"4")
    assert trace(served) == before


def test_a_client_that_goes_away_leaves_nothing(served, caplog):
    before = trace(served)
    content = asking(proof="now")
    host, port = served.url.removeprefix("http://").split(":")
    with caplog.at_level(logging.INFO, REQUESTS):
        for _ in range(20):
            with socket.create_connection((host, int(port))) as link:
                link.sendall(head(served, f"Content-Length: {len(content)}") + content[:20])
        until(lambda: sum(getattr(one, "entry", {}).get("status") == 499 for one in caplog.records) == 20)
    assert trace(served) == before


def test_a_request_sent_again_is_answered_with_the_same_receipt_and_leaves_no_second_one(served):
    first = served.infer(SAMPLES[3], nonce="6b" * 32, proof="later")
    before = trace(served)
    for _ in range(3):
        again = served.infer(SAMPLES[3], nonce="6b" * 32, proof="later")
        assert again.json()["parameters"] == first.json()["parameters"]
    assert trace(served) == before


def test_honest_clients_are_served_all_the_while(served):
    assert served.infer(X).status_code == 200
