"""A client of the protocol that others wrote and published talks to a provider as it is."""

import numpy as np
import pytest

from balance_core.service.receipts import SignedReceipt, check_receipt, request_sha256
from tests.service.live import NAME, X, serving

triton = pytest.importorskip("tritonclient.http")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("home"), keyed=True) as found:
        yield found


@pytest.fixture(scope="module")
def client(served):
    with triton.InferenceServerClient(served.url.removeprefix("http://")) as found:
        yield found


@pytest.fixture
def key(served):
    """The headers of one call: the client writes into them, and would send its additions with the next."""
    return {"Authorization": served.client.headers["Authorization"]}


def question(x=X, *, binary=True):
    made = triton.InferInput("x", list(x.shape), "FP32")
    return made.set_data_from_numpy(x, binary_data=binary)


def test_it_finds_server_and_model(served, client, key):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME, headers=key)
    assert client.is_model_ready(NAME, "1", headers=key)
    assert not client.is_model_ready("other", headers=key)
    assert "binary_tensor_data" in client.get_server_metadata(headers=key)["extensions"]
    model = client.get_model_metadata(NAME, headers=key)
    assert model["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [1, 4]}]
    assert model["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 3]}]
    assert model["parameters"]["balance_registration"] == served.provider.registration.registration_id


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_it_gets_answers_in_every_form(served, client, key, binary_in, binary_out):
    outputs = None if binary_out is None else [triton.InferRequestedOutput("y", binary_data=binary_out)]
    found = client.infer(NAME, [question(binary=binary_in)], outputs=outputs, request_id="7", headers=key)
    assert found.get_response()["id"] == "7"
    expected = served.provider.infer(X).outputs["y"]
    assert np.array_equal(found.as_numpy("y"), expected)


def test_it_gets_a_receipt_and_has_the_answer_proven(served, client, key):
    wishes = {"balance_proof": "now", "balance_nonce": "3c" * 32}
    found = client.infer(NAME, [question()], parameters=wishes, priority=1, timeout=5_000_000, headers=key)
    given = found.get_response()["parameters"]
    signed = SignedReceipt.from_json(given["balance_receipt"].encode())
    receipt = check_receipt(signed, served.provider.registration.provider)
    assert receipt.nonce == "3c" * 32
    assert receipt.input_sha256 == request_sha256({"x": X})
    assert served.finished(given["balance_job"]).bundle


def test_it_may_ask_many_things_at_once(served, key):
    with triton.InferenceServerClient(served.url.removeprefix("http://"), concurrency=8) as many:
        pending = [many.async_infer(NAME, [question(X * i)], headers=key) for i in range(24)]
        answers = [one.get_result().as_numpy("y") for one in pending]
    for i in (0, 7, 23):
        assert np.array_equal(answers[i], served.provider.infer(X * i).outputs["y"])


def test_it_shows_what_is_wrong(client, key):
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException, match="API key"):
        client.infer(NAME, [question()])
    with pytest.raises(InferenceServerException, match=r"FP32\[1, 5\]"):
        client.infer(NAME, [question(np.zeros((1, 5), np.float32))], headers=key)
    with pytest.raises(InferenceServerException, match="no output"):
        client.infer(NAME, [question()], outputs=[triton.InferRequestedOutput("z")], headers=key)
