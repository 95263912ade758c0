"""Requests and answers of the Open Inference Protocol are read exactly, or refused with what is wrong."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balance_core.errors import ConfigError
from balance_core.records import TensorSpec
from balance_core.service import wire

X = TensorSpec(name="x", dtype="float32", shape=(1, 3))
VALUES = np.array([[1.0, -2.5, 0.1]], np.float32)


def message(**changes):
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1.0, -2.5, 0.1]}
    return {"inputs": [{**tensor, **changes}]}


def read(value, binary=b"", inputs=(X,)):
    text = json.dumps(value).encode()
    return wire.read_request(text + binary, str(len(text)) if binary else None, inputs)[1]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("dtype", sorted(wire.DATATYPES))
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_every_type_of_tensor_arrives_as_it_was_sent(dtype, binary, data):
    shape = tuple(data.draw(st.lists(st.integers(1, 3), max_size=3)))
    raw = np.random.default_rng(data.draw(st.integers(0, 999))).integers(0, 256, (*shape, 8), np.uint8)
    array = (raw[..., 0] & 1).astype(bool) if dtype == "bool" else raw[..., : np.dtype(dtype).itemsize].copy()
    array = array if dtype == "bool" else array.view(dtype).reshape(shape)
    if array.dtype.kind == "f" and not binary:
        array = np.nan_to_num(array, posinf=1, neginf=1)
    spec = TensorSpec(name="x", dtype=dtype, shape=shape)
    body = wire.write_request({"x": array}, wire.Asked(nonce="11" * 32, proof="now"), binary=binary)
    request, arrays = wire.read_request(body.content, body.headers.get(wire.HEADER_LENGTH), [spec])
    assert arrays["x"].dtype == array.dtype
    assert arrays["x"].shape == shape
    assert arrays["x"].tobytes() == array.tobytes()
    assert wire.asked(request.parameters) == wire.Asked(nonce="11" * 32, proof="now")


def test_numbers_may_be_nested_as_the_shape_is():
    assert np.array_equal(read(message(data=[[1.0, -2.5, 0.1]]))["x"], VALUES)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": [1, 2]}, "shape"),
        ({"data": [[1, 2, 3], [4, 5, 6]]}, "shape"),
        ({"data": [[1], [2], [3]]}, "shape"),
        ({"data": [[1, 2], [3]]}, "different lengths"),
        ({"data": [1, [2], 3]}, "something else"),
        ({"data": ["1", "2", "3"]}, "something else"),
        ({"data": ["a" * 1000, 2, 3]}, "something else"),
        ({"data": [None, 2, 3]}, "something else"),
        ({"data": [{}, 2, 3]}, "something else"),
        ({"data": [True, True, True]}, "something else"),
        ({"data": [1e300, 2, 3]}, "does not"),
        ({"data": [10**400, 2, 3]}, "does not"),
        ({"data": None}, "either data or binary"),
        ({"data": None, "parameters": {"binary_data_size": 12}}, "announced"),
        ({"parameters": {"binary_data_size": 12}}, "either data or binary"),
        ({"data": None, "parameters": {"shared_memory_region": "r"}}, "shared memory"),
        ({"shape": [3]}, r"FP32\[3\]"),
        ({"shape": [1, -3]}, "shape"),
        ({"shape": [1, 2**40]}, "shape"),
        ({"shape": [1] * 40}, "shape"),
        ({"datatype": "FP64"}, "FP64"),
        ({"datatype": "BYTES"}, "datatype"),
        ({"name": "y"}, "no input|lacks"),
        ({"name": ""}, "name"),
        ({"extra": 1}, "extra"),
        ({"parameters": {"a": [1]}}, "parameters"),
    ],
)
def test_a_wrong_tensor_is_refused_with_the_reason(change, reason):
    with pytest.raises(ConfigError, match=reason):
        read(message(**change))


@pytest.mark.parametrize("size", [0, 11, 13, 2**63, -12, True, 12.0, "12"])
def test_a_wrong_number_of_binary_bytes_is_refused(size):
    with pytest.raises(ConfigError):
        read(message(data=None, parameters={"binary_data_size": size}), b"\x00" * 12 + b"\x00" * (size == 13))


def test_bytes_that_belong_to_no_tensor_are_refused():
    with pytest.raises(ConfigError, match="belong to none"):
        read(message(data=None, parameters={"binary_data_size": 12}), bytes(13))


@pytest.mark.parametrize("length", ["", "-1", "1e3", "٣", "9" * 13, "99999", " 5"])
def test_a_wrong_header_length_is_refused(length):
    with pytest.raises(ConfigError, match=wire.HEADER_LENGTH):
        wire.read_request(json.dumps(message()).encode(), length, [X])


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{", b"\xff", b'{"inputs": []}', b'{"inputs": {}}', b"[" * 10_000, b'{"inputs": [1]}'],
)
def test_what_is_no_message_is_refused(body):
    with pytest.raises(ConfigError, match="not of the protocol"):
        wire.read_request(body, None, [X])


def test_inputs_must_be_exactly_the_model_s():
    twice = message()["inputs"] * 2
    with pytest.raises(ConfigError, match="twice"):
        read({"inputs": twice})
    with pytest.raises(ConfigError, match="lacks the input 'z'"):
        read(message(), inputs=(X, TensorSpec(name="z", dtype="float32", shape=(1,))))


def test_integers_keep_their_value_or_are_refused():
    spec = TensorSpec(name="x", dtype="int64", shape=(1, 3))
    big = read(message(datatype="INT64", data=[2**63 - 1, -(2**63), 0]), inputs=[spec])["x"]
    assert big.tolist() == [[2**63 - 1, -(2**63), 0]]
    for wrong in ([2**63, 0, 0], [1.5, 0, 0], [1.0, 0, 0]):
        with pytest.raises(ConfigError):
            read(message(datatype="INT64", data=wrong), inputs=[spec])
    small = TensorSpec(name="x", dtype="uint8", shape=(1, 3))
    with pytest.raises(ConfigError, match="does not"):
        read(message(datatype="UINT8", data=[256, 0, 0]), inputs=[small])


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"balance_proof": "yes"}, "balance_proof"),
        ({"balance_nonce": "12"}, "balance_nonce"),
        ({"balance_nonce": "G" * 64}, "balance_nonce"),
        ({"balance_visibility": "secret"}, "balance_visibility"),
        ({"balance_registration": "1"}, "balance_registration"),
        ({"balance_profo": "now"}, "balance_profo"),
    ],
)
def test_what_balance_is_asked_for_is_checked(parameters, reason):
    with pytest.raises(ConfigError, match=reason):
        wire.asked(parameters)


def test_other_parameters_are_left_alone():
    assert wire.asked({"priority": 3, "timeout": 5, "sequence_id": "a"}) == wire.Asked()


def test_an_answer_comes_in_the_form_that_was_asked_for():
    arrays = {"a": np.array([1.5], np.float32), "b": np.array([7], np.int64)}
    frame = wire.InferResponse(model_name="m", outputs=[])

    def answered(outputs, **parameters):
        request = wire.InferRequest.model_validate({**message(), "outputs": outputs, "parameters": parameters})
        body = wire.write_response(frame, arrays, wire.wanted(request, ["a", "b"]))
        return body, wire.read_response(body.content, body.headers.get(wire.HEADER_LENGTH))[1]

    body, found = answered(None)
    assert body.header_length is None
    assert {name: array.tolist() for name, array in found.items()} == {"a": [1.5], "b": [7]}
    body, found = answered(None, binary_data_output=True)
    assert len(body.content) - body.header_length == 12
    body, found = answered([{"name": "b"}, {"name": "a", "parameters": {"binary_data": True}}])
    assert len(body.content) - body.header_length == 4
    assert list(found) == ["b", "a"]
    for wrong in ([{"name": "c"}], [{"name": "a", "parameters": {"classification": 2}}]):
        with pytest.raises(ConfigError):
            answered(wrong)
