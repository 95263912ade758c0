"""Signatures mean one thing for one key and one purpose."""

from __future__ import annotations

import copy
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from balance_core import signing
from balance_core.chain import Revocation
from balance_core.errors import ConfigError, InvalidProof
from balance_core.records import Registration, SetupTrust, Trust
from balance_core.signing import SignedRegistration, SigningKey

KEY = SigningKey.generate()
RECORD = Revocation(registration_id="ab" * 32)


@pytest.mark.parametrize("payload", [b"", b"bytes", RECORD])
def test_a_signature_is_verified_for_what_was_signed(payload):
    signing.verify(KEY.public, signing.sign(KEY, "purpose", payload), "purpose", payload)


def test_a_signature_is_worth_nothing_for_another_purpose_payload_or_key():
    signature = signing.sign(KEY, "purpose", RECORD)
    for public, domain, payload in (
        (KEY.public, "purposes", RECORD),
        (KEY.public, "purpos", RECORD),
        (KEY.public, "purpose", Revocation(registration_id="ab" * 32, reason="x")),
        (KEY.public, "purpose", RECORD.to_json()),
        (SigningKey.generate().public, "purpose", RECORD),
    ):
        with pytest.raises(InvalidProof):
            signing.verify(public, signature, domain, payload)


@given(st.binary(max_size=20), st.binary(max_size=20), st.text(max_size=5), st.text(max_size=5))
def test_two_messages_are_never_the_same_bytes(first, second, domain, other):
    if (first, domain) != (second, other):
        assert signing._message(domain, first) != signing._message(other, second)


def test_a_purpose_and_a_payload_do_not_run_into_each_other():
    assert signing._message("", b"bytesx") != signing._message("bytes", b"x")
    signature = signing.sign(KEY, "", b"bytesx")
    with pytest.raises(InvalidProof):
        signing.verify(KEY.public, signature, "bytes", b"x")


@pytest.mark.parametrize("bit", range(0, 512, 7))
def test_a_flipped_bit_of_a_signature_is_found(bit):
    signature = bytearray.fromhex(signing.sign(KEY, "purpose", b"payload"))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidProof):
        signing.verify(KEY.public, signature.hex(), "purpose", b"payload")


def test_keys_and_signatures_have_one_spelling():
    signature = signing.sign(KEY, "purpose", b"")
    spaced = signature[:2] + " " + signature[2:]
    for public, other in (
        (KEY.public.upper(), signature),
        (KEY.public, signature.upper()),
        (KEY.public, spaced),
        (KEY.public, signature[:-2]),
        (KEY.public, ""),
        ("", signature),
        ("zz" * 32, signature),
        (KEY.public, "é" * 128),
    ):
        with pytest.raises(InvalidProof):
            signing.verify(public, other, "purpose", b"")


def test_s_plus_the_group_order_is_another_signature_and_refused():
    order = 2**252 + 27742317777372353535851937790883648493
    signature = bytes.fromhex(signing.sign(KEY, "purpose", b""))
    forged = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    with pytest.raises(InvalidProof):
        signing.verify(KEY.public, forged.hex(), "purpose", b"")


PRIME = 2**255 - 19
CURVE_D = -121665 * pow(121666, -1, PRIME) % PRIME


def add(first, second):
    """The addition law of edwards25519 (RFC 8032, 5.1.4)."""
    (x1, y1), (x2, y2) = first, second
    t = CURVE_D * x1 * x2 * y1 * y2
    return (
        (x1 * y2 + x2 * y1) * pow(1 + t, -1, PRIME) % PRIME,
        (y1 * y2 + x1 * x2) * pow(1 - t, -1, PRIME) % PRIME,
    )


def small_order_points() -> set[tuple[int, int]]:
    """Multiples of the group's large order leave the points whose order divides 8; found by trying, not by heart."""
    found = set()
    for y in range(2, 80):
        square = (y * y - 1) * pow(CURVE_D * y * y + 1, -1, PRIME) % PRIME
        x = pow(square, (PRIME + 3) // 8, PRIME)
        x = x if x * x % PRIME == square else x * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
        if x * x % PRIME != square:
            continue
        point, result, order = (x, y), (0, 1), 2**252 + 27742317777372353535851937790883648493
        while order:
            result = add(result, point) if order & 1 else result
            point, order = add(point, point), order >> 1
        found |= {result, (-result[0] % PRIME, result[1])}
    return found


def test_keys_of_small_order_are_refused_whatever_they_seem_to_sign():
    points = small_order_points()
    assert len(points) == 8
    everything = bytes([1]) + bytes(63)  # R is the neutral element, s is 0
    believed = 0
    for x, y in points:
        public = (y | (x & 1) << 255).to_bytes(32, "little")
        for message in (bytes([number]) for number in range(32)):
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(everything, signing._message("purpose", message))
                believed += 1
            except Exception:  # noqa: BLE001, S112 - how often the library refuses by itself is its own business
                continue
        with pytest.raises(InvalidProof):
            signing.verify(public.hex(), everything.hex(), "purpose", b"")
    assert believed, "the library believes such keys, so the check is needed"


def test_a_key_is_neither_printed_nor_pickled_nor_copied():
    secret = KEY._private.private_bytes_raw().hex()
    assert secret not in repr(KEY)
    assert secret not in str(KEY)
    assert KEY.public in repr(KEY)
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            way(KEY)


def registration(provider: str) -> Registration:
    return Registration(
        name="mnist",
        backend="fake",
        backend_version="1",
        circuit_id="ab" * 32,
        setup_trust=SetupTrust(trust=Trust.TRANSPARENT),
        provider=provider,
    )


def test_a_registration_is_signed_by_the_provider_that_it_names():
    signed = SignedRegistration.sign(registration(KEY.public), KEY)
    assert signed.check() == registration(KEY.public)
    assert SignedRegistration.from_json(signed.to_json()) == signed
    with pytest.raises(ConfigError, match="names the provider"):
        SignedRegistration.sign(registration("ab" * 32), KEY)
    other = registration(KEY.public).model_copy(update={"name": "other"})
    with pytest.raises(InvalidProof, match="registration signature"):
        SignedRegistration(registration=other, signature=signed.signature).check()
