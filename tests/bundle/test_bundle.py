"""A bundle is one file with one encoding, whose parts fit each other."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balance_core import cid
from balance_core.bundle import MAX_CLAIMS, MAX_KEY_PARTS, Bundle
from balance_core.errors import ConfigError, InvalidProof
from balance_core.records import Proof, VerifyingKey
from balance_core.signing import SignedRegistration, SigningKey

from .conftest import make

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)


def test_a_bundle_comes_back_as_it_was(bundle, tmp_path):
    path = tmp_path / "proof.balance"
    bundle.write(path)
    assert Bundle.read(path) == bundle
    assert path.read_bytes() == bundle.to_bytes()
    assert bundle.cid == cid.of_file(path)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(NAMES, st.binary(max_size=300), min_size=1, max_size=6),
    st.none() | st.binary(max_size=50),
    st.binary(max_size=300),
    st.dictionaries(NAMES, st.sampled_from([b"{}", b'{"a":[1,null,"x"]}']), max_size=4),
)
def test_any_bundle_has_one_encoding(parts, commitment, proof, claims):
    bundle = make(parts=parts, commitment=commitment, proof=proof, claims=claims)
    data = bundle.to_bytes()
    again = Bundle.from_bytes(data)
    assert again == bundle
    assert again.to_bytes() == data
    turned = make(parts=dict(reversed(parts.items())), commitment=commitment, proof=proof, claims=claims)
    assert turned.to_bytes() == data


def test_any_tool_opens_a_bundle(bundle, tmp_path):
    archive = zipfile.ZipFile(io.BytesIO(bundle.to_bytes()))
    assert archive.testzip() is None
    assert archive.namelist() == [
        "manifest.json",
        "registration.json",
        "key/settings.json",
        "key/vk",
        "commitment.json",
        "proof.bin",
        "claims/fidelity.json",
        "claims/receipt.json",
    ]
    assert archive.read("proof.bin") == bundle.proof.data
    assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    if unzip := shutil.which("unzip"):
        bundle.write(tmp_path / "proof.balance")
        done = subprocess.run(
            [unzip, "-t", "proof.balance"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert "No errors detected" in done.stdout


def test_there_is_no_statement_inside(bundle):
    assert b"statement" not in bundle.to_bytes()


def test_a_bundle_of_many_megabytes_comes_back():
    bundle = make(parts={"vk": os.urandom(20 * 2**20)}, proof=os.urandom(2**20))
    assert Bundle.from_bytes(bundle.to_bytes()) == bundle
    with pytest.raises(ConfigError, match="more than the 1000 allowed"):
        Bundle.from_bytes(bundle.to_bytes(), max_size=1000)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"circuit_id": "00" * 32}, "the key is of the circuit"),
        ({"commitment_id": "00" * 32}, "commitment.json is"),
        ({"commitment_id": None}, "commitment.json is .* names none"),
    ],
)
def test_parts_that_contradict_the_registration_make_no_bundle(changes, part):
    with pytest.raises(InvalidProof, match=part):
        make(**changes)


def test_a_commitment_that_the_registration_names_cannot_be_left_out(bundle):
    with pytest.raises(InvalidProof, match=r"commitment\.json is none"):
        Bundle(bundle.registration, bundle.key, None, bundle.proof)
    with pytest.raises(InvalidProof, match="names none"):
        Bundle(make(commitment=None).registration, bundle.key, bundle.commitment, bundle.proof)


def test_all_parts_are_of_one_backend(bundle):
    key, commitment, proof = bundle.key, bundle.commitment, bundle.proof
    for parts in (
        (VerifyingKey("other", key.parts), commitment, proof),
        (key, commitment.model_copy(update={"backend": "other"}), proof),
        (key, commitment, Proof("other", proof.data)),
    ):
        with pytest.raises(InvalidProof, match=r"is of the backend 'other', registration\.json names 'fake'"):
            Bundle(bundle.registration, *parts)


def test_a_registration_that_its_provider_did_not_sign_makes_no_bundle(bundle):
    registration = bundle.registration.registration
    other = SigningKey.generate()
    stolen = registration.model_copy(update={"provider": other.public})
    renamed = registration.model_copy(update={"name": "other"})
    for altered in (stolen, renamed):
        signed = SignedRegistration(registration=altered, signature=bundle.registration.signature)
        with pytest.raises(InvalidProof, match="registration signature"):
            Bundle(signed, bundle.key, bundle.commitment, bundle.proof)


def test_counts_are_limited():
    make(parts={f"p{n}": b"" for n in range(MAX_KEY_PARTS)}, claims={f"c{n}": b"{}" for n in range(MAX_CLAIMS)})
    for limits in (
        {"parts": {}},
        {"parts": {f"p{n}": b"" for n in range(MAX_KEY_PARTS + 1)}},
        {"claims": {f"c{n}": b"{}" for n in range(MAX_CLAIMS + 1)}},
    ):
        with pytest.raises(ConfigError):
            make(**limits)


@pytest.mark.parametrize("name", ["", ".", "..", "../vk", "a/b", "/vk", "A", "x" * 81, "a\\b", "a\n", "é", ".x"])
def test_names_of_parts_are_plain(name):
    with pytest.raises(ConfigError, match="no name for a member"):
        make(parts={name: b""})
    with pytest.raises(ConfigError, match="no name for a member"):
        make(claims={name: b"{}"})


@pytest.mark.parametrize(
    "claim",
    [
        b"",
        b"[]",
        b"1",
        b"{",
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":NaN}',
        b'{"a":1e400}',
        b'{"a":"\\ud800"}',
        b'{"a":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' + b"1" * 5000 + b"}",
        b'{"a":"' + b"x" * 2**20 + b'"}',
        b"\xff",
    ],
)
def test_claims_are_small_canonical_objects(claim):
    with pytest.raises(ConfigError):
        make(claims={"receipt": claim})


def test_unwritable_and_missing_files_are_named(bundle, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        bundle.write(tmp_path / "file" / "proof.balance")
    with pytest.raises(ConfigError, match="does not exist"):
        Bundle.read(tmp_path / "missing.balance")
