"""Real proofs of ezkl, checked by the contracts: they accept the core's statement, and nothing altered passes."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from balance_evm import layout
from balance_evm.artifacts import artifact
from balance_evm.compile import compile_source
from eth_utils import keccak

from balance_core.bn254 import R

from .machine import GAS_LIMIT, Contract, Halted, Reverted
from .office import Office, raw
from .test_models import refused

pytest.importorskip("ezkl")
from .circuits import CONTEXTS, Proven, dedicated_source, prove

PADDING = 33
"""Zero bytes that pyrevm keeps behind a contract's code."""


@pytest.fixture(scope="module")
def circuits(tmp_path_factory) -> tuple[Proven, Proven]:
    """Two circuits of one form and different weights."""
    folder = tmp_path_factory.mktemp("ezkl")
    return prove(folder / "one", 1), prove(folder / "two", 2)


@pytest.fixture(scope="module")
def place(circuits, compiler, tmp_path_factory):
    """A registry, both adapters, and a model of the first circuit for each of them."""
    del compiler
    office, (first, second) = Office(), circuits
    machine = office.machine
    target = machine.create(compile_source(first.contract.name, first.contract.source).creation)
    reusable = machine.deploy(artifact("EzklReusable"), target)
    for one in circuits:
        reusable.send(office.address("dave"), "prepare", one.material, False)
    source = dedicated_source(first.key, tmp_path_factory.mktemp("dedicated"))
    generated = machine.create(compile_source("Halo2Verifier", source).creation)
    code_hash = keccak(machine.evm.get_code(generated)[:-PADDING])
    dedicated = machine.deploy(artifact("EzklDedicated"))
    material = {
        "reusable": first.material,
        "dedicated": layout.dedicated(first.reading, generated, code_hash, first.circuit.proof_bytes),
    }
    adapters: dict[str, Contract] = {"reusable": reusable, "dedicated": dedicated}
    models = {}
    for name, adapter in adapters.items():
        models[name] = office.registration(name=name, backend="ezkl", circuit_id=first.key.circuit_id)
        office.register(models[name], verifier=adapter.address, verifyingKey=keccak(material[name]))
    return SimpleNamespace(
        office=office, first=first, second=second, adapters=adapters, material=material, models=models, ezkl=target
    )


@pytest.fixture(params=["reusable", "dedicated"])
def kind(request):
    return request.param


def check(place, kind, proof, *, material=None, key=None, values=None):
    """Ask an adapter."""
    told = place.material[kind] if material is None else material
    values = proof.public_values if values is None else values
    key = keccak(place.material[kind]) if key is None else key
    return place.adapters[kind].get("verify", key, told, proof.proof, list(values))


def invalid(act):
    with pytest.raises((Reverted, Halted)) as found:
        act()
    assert isinstance(found.value, Halted) or found.value.name == "InvalidProof", found.value


def test_the_chain_reads_the_statement_that_the_verifier_reads(place, kind):
    for proof, statement in zip(place.first.proofs, place.first.statements, strict=True):
        said = check(place, kind, proof)
        assert said["context"] == raw(statement.context)
        assert said["inputsDigest"] == raw(statement.inputs_digest)
        assert said["statementDigest"] == raw(statement.digest)
        assert statement.context == CONTEXTS[place.first.proofs.index(proof)].hex()


def test_a_real_proof_is_verified_by_the_registry_once(place, kind):
    office, statement, proof = place.office, place.first.statements[0], place.first.proofs[0]
    record = office.proof(
        place.models[kind],
        context=statement.context,
        inputs_digest=statement.inputs_digest,
        statement_digest=statement.digest,
    )
    evidence = (place.material[kind], proof.proof, list(proof.public_values))
    for change in ({"context": "77" * 32}, {"inputs_digest": "77" * 32}, {"statement_digest": "77" * 32}):
        altered = record.model_copy(update=change)
        refused("SaysOtherwise", lambda altered=altered: office.verify(altered, evidence))
    office.verify(record, evidence)
    assert office.machine.gas_used < GAS_LIMIT / 8
    assert office.registry.get("proofStatus", office.models[record.registration_id], office.answer(record)) == 4
    refused("AnswerCountsOnce", lambda: office.verify(record, evidence))


def test_every_public_value_is_bound(place, kind):
    proof = place.first.proofs[0]
    for index, value in enumerate(proof.public_values):
        for other in {(value + 1) % R, (value - 1) % R, value + R, R - value, 0, 2**256 - 1} - {value}:
            values = list(proof.public_values)
            values[index] = other
            invalid(lambda values=values: check(place, kind, proof, values=values))


def test_public_values_are_neither_more_nor_fewer_nor_in_another_order(place, kind):
    proof = place.first.proofs[0]
    values = list(proof.public_values)
    for altered in (values[:-1], [*values, 0], values[1:], [0, *values], values[::-1], [], values * 2):
        invalid(lambda altered=altered: check(place, kind, proof, values=altered))


def test_every_word_of_the_proof_is_bound(place, kind):
    proof = place.first.proofs[0]
    random = np.random.default_rng(1)
    for start in range(0, len(proof.proof), 32):
        word = int.from_bytes(proof.proof[start : start + 32], "big")
        for other in (word ^ 1, word ^ (1 << int(random.integers(256)))):
            data = proof.proof[:start] + other.to_bytes(32, "big") + proof.proof[start + 32 :]
            invalid(lambda data=data: check(place, kind, dataclasses.replace(proof, proof=data)))


def test_a_proof_has_one_length(place, kind):
    data = place.first.proofs[0].proof
    for altered in (data[:-32], data[:-1], data + bytes(1), data + bytes(32), data * 2, b""):
        proof = dataclasses.replace(place.first.proofs[0], proof=altered)
        invalid(lambda proof=proof: check(place, kind, proof))


def test_proofs_and_answers_are_not_exchanged(place, kind):
    first, second = place.first.proofs
    invalid(lambda: check(place, kind, first, values=second.public_values))
    for foreign in place.second.proofs:
        invalid(lambda foreign=foreign: check(place, kind, foreign))


def test_the_material_is_that_of_the_key(place, kind):
    proof = place.first.proofs[0]
    other = place.second.material
    invalid(lambda: check(place, kind, proof, material=other))
    invalid(lambda: check(place, kind, proof, material=b""))
    invalid(lambda: check(place, kind, proof, material=place.material[kind] + bytes(32)))


def test_another_circuits_words_are_registered_and_still_check_nothing_of_this_one(place):
    proof = place.first.proofs[0]
    material = layout.reusable(place.first.reading, place.second.circuit.words, place.first.circuit.proof_bytes)
    invalid(lambda: check(place, "reusable", proof, material=material, key=keccak(material)))


def test_a_contract_that_says_yes_to_other_words_is_not_believed(place):
    """Its digest is compared with that of the words which the key covers."""
    yes = place.office.machine.create(
        # PUSH1 1, PUSH0, MSTORE, PUSH1 7, PUSH1 32, MSTORE, PUSH1 96, PUSH0, RETURN behind the usual constructor
        bytes.fromhex("600e600c600039600e6000f3") + bytes.fromhex("60015f5260076020526060" + "5ff3")[:14] + b"\0"
    )
    adapter = place.office.machine.deploy(artifact("EzklReusable"), yes)
    proof, material = place.first.proofs[0], place.first.material
    with pytest.raises(Reverted, match="checked another circuit"):
        adapter.get("verify", keccak(material), material, proof.proof, list(proof.public_values))


def test_words_that_nobody_registered_are_no_invalid_proof(place):
    adapter = place.office.machine.deploy(artifact("EzklReusable"), place.ezkl)
    changed = bytearray(place.first.circuit.words)
    changed[-1] ^= 1
    material = layout.reusable(place.first.reading, bytes(changed), place.first.circuit.proof_bytes)
    proof = place.first.proofs[0]
    with pytest.raises(Reverted) as found:
        adapter.get("verify", keccak(material), material, proof.proof, list(proof.public_values))
    assert b"VKA not registered" in bytes.fromhex(found.value.name[2:])


def test_kept_material_serves_later_calls_and_only_its_key(place):
    adapter, office = place.adapters["reusable"], place.office
    adapter.send(office.address("dave"), "prepare", place.first.material, True)
    (told,) = adapter.send(office.address("bob"), "prepare", place.first.material, True)
    key = keccak(place.first.material)
    assert told.values["stored"] == adapter.get("stored", key)
    proof = place.first.proofs[1]
    assert check(place, "reusable", proof, material=b"") == check(place, "reusable", proof)
    invalid(lambda: check(place, "reusable", proof, material=b"", key=keccak(place.second.material)))
    assert office.machine.call(office.address("bob"), adapter.get("stored", key), b"\1\2\3\4") == b""


def test_values_out_of_a_statements_range_are_refused_before_ezkl_sees_them(place):
    """The circuit may leave ranges to its verifier: then the adapter is what keeps a wrapped number out."""
    proof, circuit = place.first.proofs[0], place.first.circuit
    inputs = [(one.form, 0, 1) for one in circuit.inputs]
    outputs = [(one.form, one.low, one.high) for one in circuit.outputs]
    reading = layout.layout(place.first.key.circuit_id, None, inputs, outputs)
    material = layout.reusable(reading, circuit.words, circuit.proof_bytes)
    with pytest.raises(Reverted, match="out of range"):
        check(place, "reusable", proof, material=material, key=keccak(material))


def test_a_generated_contract_is_named_by_its_code(place):
    proof, first = place.first.proofs[0], place.first
    other = place.office.machine.create(bytes.fromhex("6001600c60003960016000f3") + b"\0")
    for address, code_hash in ((other, bytes(32)), (other, keccak(b"")), ("0x" + "12" * 20, bytes(32))):
        material = layout.dedicated(first.reading, address, code_hash, first.circuit.proof_bytes)
        invalid(lambda material=material: check(place, "dedicated", proof, material=material, key=keccak(material)))


def test_too_little_gas_is_never_a_verdict(place, kind):
    """Whatever gas a call is given, it verifies or leaves no trace."""
    office, statement, proof = place.office, place.first.statements[1], place.first.proofs[1]
    record = office.proof(
        place.models[kind],
        context=statement.context,
        inputs_digest=statement.inputs_digest,
        statement_digest=statement.digest,
    )
    evidence = (place.material[kind], proof.proof, list(proof.public_values))
    before = office.registry.get("sequence")
    for gas in range(200_000, 500_000, 30_000):
        with pytest.raises((Reverted, Halted)):
            office.verify(record, evidence, gas=gas)
    assert office.registry.get("sequence") == before
    office.verify(record, evidence)
