"""A receipt binds what it says, only its provider can sign it, and a false one is shown by a proof."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balance_core import canonical
from balance_core.errors import ConfigError, InvalidProof
from balance_core.records import Registration, SetupTrust, Statement, Tensor, Trust
from balance_core.service.receipts import (
    AnswerReceipt,
    SignedReceipt,
    check_receipt,
    context_of,
    contradiction,
    job_id_of,
    matching,
    now,
    request_sha256,
    sign_receipt,
)
from balance_core.signing import SigningKey
from balance_core.verification import Verified

KEY = SigningKey.generate()
REGISTRATION = Registration(
    name="model",
    backend="integer",
    backend_version="1",
    circuit_id="11" * 32,
    setup_trust=SetupTrust(trust=Trust.TRANSPARENT),
    provider=KEY.public,
)
NONCE = "22" * 32
X = Tensor(name="x", shape=(2,), integers=(1, 2))
Y = Tensor(name="y", shape=(1,), integers=(3,))
CONTEXT = context_of(NONCE, REGISTRATION.registration_id)


def statement(inputs=(X,), outputs=(Y,), context=CONTEXT):
    return Statement(circuit_id=REGISTRATION.circuit_id, context=context, inputs=inputs, outputs=outputs)


def verified(*statements, registration=REGISTRATION):
    return Verified(
        registration_id=registration.registration_id,
        registration=registration,
        setup_trust=registration.setup_trust,
        statements=statements,
        sound=True,
    )


def receipt(**changes):
    sha256 = request_sha256({"x": np.array([1.0, 2.0], np.float32)})
    values = {
        "registration_id": REGISTRATION.registration_id,
        "provider": KEY.public,
        "nonce": NONCE,
        "context": CONTEXT,
        "input_digest": statement().inputs_digest,
        "input_sha256": sha256,
        "outputs": (Y,),
        "time": now(),
        "proof": "now",
        "job_id": job_id_of(REGISTRATION.registration_id, sha256, CONTEXT),
    }
    return AnswerReceipt(**{**values, **changes})


def test_a_signed_receipt_is_read_back_and_checked():
    signed = SignedReceipt.from_json(sign_receipt(KEY, receipt()).to_json())
    assert check_receipt(signed, KEY.public) == signed.receipt
    assert signed.receipt_id == signed.receipt.digest


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": (Tensor(name="y", shape=(1,), integers=(4,)),)},
        {"outputs": (Tensor(name="y", shape=(1,), integers=(3,), denominator=2),)},
        {"input_digest": "33" * 32},
        {"input_digest": None},
        {"time": "2026-01-31T12:00:00.000Z"},
        {"proof": "later"},
        {"proof": "none", "job_id": None},
    ],
)
def test_whatever_is_changed_breaks_the_signature(change):
    signed = sign_receipt(KEY, receipt())
    forged = SignedReceipt(receipt=receipt(**change), signature=signed.signature)
    with pytest.raises(InvalidProof):
        check_receipt(forged, KEY.public)


def test_a_receipt_of_another_key_is_refused():
    other = SigningKey.generate()
    theirs = sign_receipt(other, receipt(provider=other.public))
    with pytest.raises(InvalidProof, match="and not by"):
        check_receipt(theirs, KEY.public)
    with pytest.raises(ConfigError, match="names the provider"):
        sign_receipt(other, receipt())


@pytest.mark.parametrize(
    "change",
    [
        {"context": "44" * 32},
        {"nonce": "44" * 32},
        {"registration_id": "44" * 32},
        {"input_sha256": "44" * 32},
        {"job_id": "44" * 32},
        {"job_id": None},
        {"proof": "none"},
        {"time": "yesterday"},
        {"nonce": "22" * 31},
    ],
)
def test_a_receipt_whose_parts_do_not_belong_together_is_none(change):
    value = {**receipt().model_dump(mode="json"), **change}
    with pytest.raises(ConfigError, match="answer-receipt record"):
        AnswerReceipt.from_value(value)


def test_a_proof_bears_a_receipt_out_or_is_refused():
    assert matching(receipt(), verified(statement())) == statement()
    wrong = Tensor(name="y", shape=(1,), integers=(4,))
    for proof, reason in (
        (verified(statement(outputs=(wrong,))), "another output"),
        (verified(statement(inputs=(Y,))), "another input"),
        (verified(statement(context="55" * 32)), "another request"),
        (verified(statement(), registration=REGISTRATION.model_copy(update={"version": 2})), "another registration"),
    ):
        with pytest.raises(InvalidProof, match=reason):
            matching(receipt(), proof)


def test_a_backend_that_binds_no_context_is_held_to_the_input():
    assert matching(receipt(), verified(statement(context="00" * 32))).context == "00" * 32
    with pytest.raises(InvalidProof, match="another request"):
        matching(receipt(), verified(statement(context="00" * 32, inputs=(Y,))))


def test_only_another_output_of_the_same_input_is_evidence():
    false = statement(outputs=(Tensor(name="y", shape=(1,), integers=(4,)),))
    assert contradiction(receipt(), verified(false)) == false
    assert contradiction(receipt(), verified(statement())) is None
    elsewhere = statement(outputs=false.outputs, context="66" * 32)
    assert contradiction(receipt(), verified(elsewhere)) == elsewhere, "the same input, asked by anybody"


def test_whoever_proves_another_input_under_the_context_cannot_blame_the_provider():
    with pytest.raises(ConfigError, match="says nothing"):
        contradiction(receipt(), verified(statement(inputs=(Y,))))
    with pytest.raises(ConfigError, match="says nothing"):
        contradiction(receipt(input_digest=None), verified(statement(outputs=(X,))))


@given(st.lists(st.floats(width=32), min_size=1, max_size=8), st.integers(0, 7))
def test_the_input_is_bound_bit_for_bit(values, at):
    array = np.array(values, np.float32)
    changed = array.copy()
    changed.view(np.uint32)[at % len(array)] ^= 1
    assert request_sha256({"x": array}) != request_sha256({"x": changed})
    assert request_sha256({"x": array}) == request_sha256({"x": array.astype(">f4")})
    assert request_sha256({"x": array}) != request_sha256({"x": array[None]})
    assert request_sha256({"x": array}) != request_sha256({"y": array})
    assert request_sha256({"x": array}) != request_sha256({"x": array.view(np.int32)})


def test_the_order_of_inputs_and_of_memory_does_not_matter():
    a, b = np.arange(6, dtype=np.int64).reshape(2, 3), np.ones(1, np.float32)
    assert request_sha256({"a": a, "b": b}) == request_sha256({"b": b, "a": np.asfortranarray(a)})
    with pytest.raises(ConfigError, match="not numbers"):
        request_sha256({"a": np.array(["text"])})


@given(
    integers=st.lists(st.one_of(st.integers(-300, 300), st.integers()), max_size=6),
    name=st.text(min_size=1, max_size=9).filter(lambda text: text.isprintable()),
    zero_point=st.integers(),
    numerator=st.integers(1, 2**80),
)
def test_a_tensor_writes_itself_as_every_record_is_written(integers, name, zero_point, numerator):
    tensor = Tensor(
        name=name, shape=(len(integers),), integers=tuple(integers), numerator=numerator, zero_point=zero_point
    )
    assert tensor.to_json() == canonical.encode(tensor.model_dump(mode="json"))
    assert Tensor.from_json(tensor.to_json()) == tensor


def test_a_changed_copy_is_written_anew_and_equals_only_its_like():
    first = receipt()
    written, named = first.to_json(), first.receipt_id
    changed = first.model_copy(update={"input_digest": "77" * 32})
    assert changed.to_json() != written
    assert changed.receipt_id != named
    assert changed != first
    assert first == AnswerReceipt.from_json(written)
    assert set(first.model_dump()) == set(AnswerReceipt.model_fields)
