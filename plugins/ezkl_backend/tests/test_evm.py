"""What ezkl's contract is given: one source for all circuits, and all that the contract itself leaves open."""

from __future__ import annotations

import pytest
from balance_ezkl import evm, evm_tool
from balance_ezkl.backend import EzklBackend
from balance_ezkl.verifier import EzklVerifier

from balance_core.bn254 import R
from balance_core.contracts import ExportsEvmVerifier
from balance_core.errors import InvalidProof, ToolFailed, UnsupportedModel
from balance_core.records import Proof, VerifyingKey

from .workshop import mlp, sample, sampled

BACKEND = EzklBackend()


@pytest.fixture(scope="module")
def other(tiny_bench):
    """Another circuit and a proof of it."""
    model = mlp(seed=2, sizes=(3, 5, 2))
    samples = sampled(model)
    circuit = tiny_bench.setup(model, samples)
    return tiny_bench.key(circuit), tiny_bench.prove(circuit, sample(samples, 0))


def test_the_backend_offers_it():
    assert isinstance(BACKEND, ExportsEvmVerifier)


def test_one_contract_serves_all_circuits(tiny, other):
    assert BACKEND.evm_contract(tiny.key) == BACKEND.evm_contract(other[0])
    assert evm.CONTRACT in BACKEND.evm_contract(tiny.key).source


def test_words_are_the_circuits_own_and_the_same_each_time(tiny, other):
    first = BACKEND.evm_circuit(tiny.key)
    evm._export.cache_clear()
    assert BACKEND.evm_circuit(tiny.key) == first
    assert BACKEND.evm_circuit(other[0]).words != first.words


def test_length_of_proofs_follows_from_the_key(tiny, other):
    for key, proof in ((tiny.key, tiny.proof), other):
        assert BACKEND.evm_circuit(key).proof_bytes == len(BACKEND.evm_proof(key, proof).proof)


def test_ranges_are_those_that_the_verifier_checks(tiny):
    circuit, parts = BACKEND.evm_circuit(tiny.key), BACKEND.evm_proof(tiny.key, tiny.proof)
    assert circuit.modulus == R
    statement = EzklVerifier().verify(tiny.key, None, tiny.proof)[0]
    tensors = (*circuit.inputs, *circuit.outputs)
    assert [
        one.form.model_copy(update={"integers": said.integers})
        for one, said in zip(tensors, (*statement.inputs, *statement.outputs), strict=True)
    ] == [*statement.inputs, *statement.outputs]
    ranges = [(16, 0, 2**16 - 1), *((len(one.form.integers), one.low, one.high) for one in tensors)]
    assert sum(count for count, _, _ in ranges) == len(parts.public_values)
    place = 0
    for count, low, high in ranges:
        for value in parts.public_values[place : place + count]:
            assert low <= (value if value <= R // 2 else value - R) <= high
        place += count
    # One beyond each range, at both ends, is what the verifier refuses before it looks at the proof.
    place = 0
    for count, low, high in ranges:
        for value in (low - 1, high + 1):
            values = list(parts.public_values)
            values[place] = value % R
            altered = evm.container.Contents(tuple(values), parts.proof).to_bytes()
            with pytest.raises(InvalidProof, match=r"range|limbs"):
                EzklVerifier().verify(tiny.key, None, Proof("ezkl", altered))
        place += count


def test_a_proof_of_another_form_is_refused(tiny, other):
    for data in (b"", tiny.proof.data[:-1], tiny.proof.data + bytes(1), other[1].data):
        with pytest.raises(InvalidProof):
            BACKEND.evm_proof(tiny.key, Proof("ezkl", data))
    with pytest.raises(InvalidProof):
        BACKEND.evm_proof(tiny.key, Proof("another", tiny.proof.data))


def test_a_broken_key_is_refused(tiny):
    with pytest.raises(InvalidProof):
        BACKEND.evm_circuit(tiny.with_part("key", b""))
    with pytest.raises(InvalidProof):
        BACKEND.evm_contract(VerifyingKey("ezkl", {}))
    cut = tiny.with_part("key", tiny.key.parts["key"][:-40])
    with pytest.raises(ToolFailed):
        BACKEND.evm_circuit(cut)


def test_a_circuit_that_the_contract_cannot_address_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(evm, "LAST_OFFSET", 2000)
    with pytest.raises(UnsupportedModel, match="too large") as caught:
        BACKEND.evm_circuit(tiny.key)
    assert caught.value.issues[0].mend


def test_another_source_is_refused(tiny, monkeypatch):
    """Whatever another build of ezkl writes is not deployed in the place of what was looked at."""
    monkeypatch.setattr(evm, "SOURCE_DIGEST", "0" * 64)
    evm._export.cache_clear()
    with pytest.raises(ToolFailed, match="another contract"):
        BACKEND.evm_contract(tiny.key)


def test_the_tool_leaves_nothing_in_the_users_home(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    evm._export.cache_clear()
    BACKEND.evm_circuit(tiny.key)
    assert not list(tmp_path.iterdir())


def test_a_tool_that_hangs_is_given_up(tiny, monkeypatch):
    monkeypatch.setattr(evm_tool, "_SECONDS", 0.01)
    evm._export.cache_clear()
    with pytest.raises(Exception, match="within") as caught:
        BACKEND.evm_contract(tiny.key)
    assert type(caught.value).__name__ == "StageTimeout"
