"""Proofs that were altered as somebody who knows the format would alter them."""

from __future__ import annotations

import pytest
from balance_ezkl import container
from balance_ezkl.verifier import EzklVerifier

from balance_core.bn254 import P, R
from balance_core.errors import InvalidProof
from balance_core.records import ModelCommitment, Proof


@pytest.fixture(scope="module")
def contents(tiny):
    count = int.from_bytes(tiny.proof.data[8:12], "big")
    return container.decode(tiny.proof.data, instances=count)


def refused(tiny, instances, proof):
    data = container.Contents(tuple(instances), bytes(proof)).to_bytes()
    with pytest.raises(InvalidProof) as error:
        tiny.verify(proof=Proof("ezkl", data))
    return error.value.message


def test_container_is_read_back_as_it_was_written(tiny, contents):
    assert contents.to_bytes() == tiny.proof.data


def test_no_coordinate_or_scalar_has_a_second_encoding(tiny, contents):
    """Adding the modulus to any 32-byte word leaves its meaning to a lenient reader; none may be lenient."""
    tried = 0
    for start in range(0, len(contents.proof) - 31, 32):
        word = int.from_bytes(contents.proof[start : start + 32], "big")
        for modulus in (P, R):
            if word + modulus < 2**256:
                altered = bytearray(contents.proof)
                altered[start : start + 32] = (word + modulus).to_bytes(32, "big")
                refused(tiny, contents.instances, altered)
                tried += 1
    assert tried > len(contents.proof) // 32


def test_points_cannot_be_negated_or_taken_away(tiny, contents):
    for start in range(0, min(len(contents.proof) - 63, 64 * 12), 64):
        y = int.from_bytes(contents.proof[start + 32 : start + 64], "big")
        negated = contents.proof[: start + 32] + (P - y).to_bytes(32, "big") + contents.proof[start + 64 :]
        refused(tiny, contents.instances, negated)
        refused(tiny, contents.instances, contents.proof[:start] + bytes(64) + contents.proof[start + 64 :])


def test_nothing_follows_a_proof(tiny, contents):
    """ezkl itself does not look at what follows."""
    for tail in (b"\0", b"\xff" * 32, contents.proof):
        assert refused(tiny, contents.instances, contents.proof + tail) == "bytes follow the proof"


def test_shortened_proofs_are_refused(tiny, contents):
    for keep in (0, 1, 32, 64, len(contents.proof) - 32, len(contents.proof) - 1):
        refused(tiny, contents.instances, contents.proof[:keep])


def test_public_values_that_are_not_reduced_are_refused(tiny, contents):
    for place in range(len(contents.instances)):
        instances = list(contents.instances)
        instances[place] += R
        assert "not reduced" in refused(tiny, instances, contents.proof)


def test_any_other_public_value_is_refused(tiny, contents):
    for place, value in enumerate(contents.instances):
        for other in (value + 1, value - 1, R - value):
            if other % R != value:
                instances = list(contents.instances)
                instances[place] = other % R
                refused(tiny, instances, contents.proof)


def test_limbs_of_the_context_have_sixteen_bits(tiny, contents):
    instances = [2**16, *contents.instances[1:]]
    assert "16-bit limbs" in refused(tiny, instances, contents.proof)


def test_inputs_beyond_the_range_are_refused_before_anything_is_verified(tiny, contents):
    """The circuit leaves this to its verifier: a value of the field's size would make other sums come out right."""
    limit = tiny.circuit.facts["decomp_base"] ** tiny.circuit.facts["decomp_legs"]
    for value in (limit, R - limit, R // 2):
        instances = list(contents.instances)
        instances[16] = value
        assert "out of range" in refused(tiny, instances, contents.proof)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        container.MAGIC,
        container.MAGIC + b"\xff" * 8,
        container.MAGIC[:-1] + b"\x02" + bytes(8),
        container.MAGIC + (23).to_bytes(4, "big") + b"\xff" * 4,
    ],
)
def test_headers_that_lie_are_refused(tiny, header):
    with pytest.raises(InvalidProof):
        tiny.verify(proof=Proof("ezkl", header + tiny.proof.data[len(header) :][:64]))


def test_proofs_and_keys_of_other_backends_are_refused(tiny):
    with pytest.raises(InvalidProof, match="not of ezkl"):
        tiny.verify(proof=Proof("other", tiny.proof.data))


def test_a_commitment_is_refused(tiny):
    commitment = ModelCommitment(backend="ezkl", provider="00" * 32, data="00" * 32)
    with pytest.raises(InvalidProof, match="no commitment"):
        EzklVerifier().verify(tiny.key, commitment, tiny.proof)
