from __future__ import annotations

import pytest

from balance_core.errors import ConfigError
from balance_core.records import (
    Circuit,
    Proof,
    Registration,
    SetupTrust,
    Statement,
    Tensor,
    TensorSpec,
    Trust,
    VerifyingKey,
    circuit_id,
)

TENSOR = Tensor(name="y", shape=(2,), integers=(2**60, -3), denominator=4)


def test_a_record_has_one_encoding():
    data = TENSOR.to_json()
    assert Tensor.from_json(data) == TENSOR
    for other in (data + b" ", data.replace(b"-3", b'"-3"'), data.replace(b"-3", b"-3.0"), data[:-1] + b',"x":1}'):
        with pytest.raises(ConfigError):
            Tensor.from_json(other)


def test_a_duplicate_key_is_refused():
    with pytest.raises(ConfigError, match="duplicate"):
        Tensor.from_json(TENSOR.to_json()[:-1] + b',"name":"z"}')


def test_another_schema_version_is_refused():
    with pytest.raises(ConfigError, match="schema_version"):
        Tensor.from_json(TENSOR.to_json().replace(b'"schema_version":1', b'"schema_version":2'))


def test_a_tensor_means_its_integers_times_its_scale():
    assert TENSOR.real().tolist() == [2**58, -0.75]
    assert Tensor(name="z", shape=(), integers=(7,), zero_point=3, numerator=2).real() == 8


def test_a_shape_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="does not fit"):
        Tensor.from_value({"name": "y", "shape": [3], "integers": [1]})


def test_records_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        TENSOR.name = "other"


def test_every_field_of_a_registration_changes_its_id():
    base = Registration(
        name="m",
        backend="b",
        backend_version="1",
        circuit_id="0" * 64,
        setup_trust=SetupTrust(trust=Trust.TRANSPARENT),
        provider="1" * 64,
    )
    changes = {
        "name": "n",
        "version": 2,
        "backend": "c",
        "backend_version": "2",
        "circuit_id": "1" * 64,
        "commitment_id": "2" * 64,
        "setup_trust": SetupTrust(trust=Trust.INSECURE_TEST),
        "provider": "2" * 64,
        "model_id": "3" * 64,
        "previous": "4" * 64,
    }
    assert set(changes) == set(Registration.model_fields) - {"schema_version"}
    ids = {base.model_copy(update={name: value}).registration_id for name, value in changes.items()}
    assert len(ids | {base.registration_id}) == len(changes) + 1


def test_the_circuit_id_covers_the_backend_and_every_byte_of_the_key():
    key = VerifyingKey("b", {"key": b"k", "settings": b"s"})
    others = [
        VerifyingKey("c", key.parts),
        VerifyingKey("b", {"key": b"K", "settings": b"s"}),
        VerifyingKey("b", {"key": b"k", "settings": b"S"}),
        VerifyingKey("b", {"key": b"k"}),
        VerifyingKey("b", {"key": b"s", "settings": b"k"}),
    ]
    assert key.circuit_id not in {other.circuit_id for other in others}


def test_circuit_record_and_key_agree_on_the_id():
    from balance_core import cid

    key = VerifyingKey("b", {"key": b"k"})
    circuit = Circuit(
        backend="b",
        backend_version="1",
        model_id="0" * 64,
        settings={},
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1,)),),
        outputs=(),
        setup_trust=SetupTrust(trust=Trust.TRANSPARENT),
        key={"key": cid.of_bytes(b"k")},
    )
    assert circuit.circuit_id == key.circuit_id == circuit_id("b", dict(circuit.key))


def test_the_inputs_digest_covers_inputs_alone():
    statement = Statement(circuit_id="0" * 64, context="1" * 64, inputs=(TENSOR,), outputs=(TENSOR,))
    same = statement.model_copy(update={"outputs": (), "context": "2" * 64})
    other = statement.model_copy(update={"inputs": (TENSOR, TENSOR)})
    assert statement.inputs_digest == same.inputs_digest != other.inputs_digest


def test_a_proof_is_bytes_and_a_backend():
    assert Proof("b", b"x") != Proof("c", b"x")
