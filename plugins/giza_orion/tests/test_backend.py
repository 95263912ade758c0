"""What the backend says of itself, and what it says when a part is missing."""

from __future__ import annotations

import pytest
from balance_orion import native
from balance_orion.backend import OrionBackend
from balance_orion.key import QUERIES, ProgramKey
from balance_orion.settings import OrionSettings
from balance_orion.verifier import OrionVerifier, decode

from balance_core.errors import InvalidProof, ToolNotFound
from balance_core.records import Proof, VerifyingKey


def test_the_stated_security_is_the_verifiers_own_figure():
    verifier = pytest.importorskip("balance_orion_verifier")
    capabilities = OrionBackend.capabilities
    assert capabilities.security_bits == verifier.security_bits(70)[0]
    described = OrionSettings.model_fields["queries"].description
    for queries in QUERIES:
        for bits in verifier.security_bits(queries):
            assert str(bits) in capabilities.security_note
            assert str(bits) in described


def test_nothing_is_promised_that_does_not_hold():
    capabilities = OrionBackend.capabilities
    assert capabilities.sound
    assert not any((capabilities.zero_knowledge, capabilities.private_input, capabilities.private_weights))


@pytest.mark.parametrize("module", ["balance_orion_prover", "balance_orion_verifier"])
def test_a_missing_wheel_is_named_with_what_to_type(module, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(native, "import_module", missing)
    with pytest.raises(ToolNotFound, match=module) as refused:
        (native.prover if module.endswith("prover") else native.verifier)()
    assert "pip install" in refused.value.hint


def test_a_processor_that_is_too_old_is_named(monkeypatch):
    def old(name):
        raise ImportError(f"{name} needs AVX2, which this processor lacks")

    monkeypatch.setattr(native, "import_module", old)
    with pytest.raises(ToolNotFound, match="AVX2"):
        native.prover()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(34),
        b"\x01" + bytes(33),
        bytes([1, 69]) + bytes(32),
        bytes([1, 70]) + bytes(33),
        bytes([2, 70] * 17),
    ],
)
def test_a_key_has_one_form(data):
    with pytest.raises(InvalidProof):
        ProgramKey.read(data)


def test_a_key_comes_back():
    key = ProgramKey(bytes(range(32)), 140)
    assert ProgramKey.read(key.to_bytes()) == key


def test_keys_and_proofs_of_others_are_refused():
    with pytest.raises(InvalidProof, match="nothing else"):
        OrionVerifier().verify(VerifyingKey("giza_orion", {"program": bytes(34)}), None, Proof("giza_orion", b""))
    with pytest.raises(InvalidProof, match="nothing else"):
        OrionVerifier().setup_trust(VerifyingKey("ezkl", {"program": bytes(34), "structure": b""}))


@pytest.mark.parametrize("words", [[], [1], [2**128, 0], [0, 2**130, 5]])
def test_an_output_without_a_context_is_refused(words):
    with pytest.raises(InvalidProof, match="context"):
        decode(words)
