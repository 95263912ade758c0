"""Verifying keys that somebody made to mislead or to hurt: nothing but a clean refusal, and soon."""

from __future__ import annotations

import json
import time

import pytest
from balance_ezkl.verifier import EzklVerifier

from balance_core import bn254, canonical
from balance_core.errors import InvalidProof
from balance_core.records import Trust, VerifyingKey
from balance_core.srs import CUT_BYTES, Parameters


def altered(tiny, path, value):
    """Return the key with one field of its settings changed, in canonical form."""
    document = json.loads(tiny.key.parts["settings"])
    at = document
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return tiny.with_part("settings", canonical.encode(document))


def refused(tiny, key):
    started = time.monotonic()
    with pytest.raises(InvalidProof) as error:
        EzklVerifier().verify(key, None, tiny.proof)
    assert time.monotonic() - started < 10
    return error.value.message


RUN = ("ezkl", "run_args")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*RUN, "input_visibility"), "Private"),
        ((*RUN, "output_visibility"), "Private"),
        ((*RUN, "output_visibility"), "Fixed"),
        ((*RUN, "input_visibility"), {"Hashed": {"hash_is_public": True, "outlets": []}}),
        ((*RUN, "param_visibility"), "Private"),
        ((*RUN, "param_visibility"), {"Hashed": {"hash_is_public": True, "outlets": []}}),
        ((*RUN, "variables"), [["batch_size", 2]]),
        ((*RUN, "logrows"), 40),
        ((*RUN, "logrows"), 0),
        ((*RUN, "logrows"), "8"),
        ((*RUN, "num_inner_cols"), 10**9),
        ((*RUN, "num_inner_cols"), 0),
        ((*RUN, "decomp_base"), 0),
        ((*RUN, "decomp_base"), 2**40),
        ((*RUN, "decomp_legs"), 10**6),
        ((*RUN, "lookup_range"), [-(10**15), 10**15]),
        ((*RUN, "lookup_range"), [1, -1]),
        ((*RUN, "epsilon"), -1.0),
        (("ezkl", "total_assignments"), 10**14),
        (("ezkl", "total_const_size"), 10**14),
        (("ezkl", "num_rows"), -1),
        (("ezkl", "num_rows"), 10**30),
        (("ezkl", "total_dynamic_col_size"), 10**14),
        (("ezkl", "total_shuffle_col_size"), 10**14),
        (("ezkl", "einsum_params", "total_einsum_col_size"), 10**14),
        (("ezkl", "einsum_params", "equations"), [["x" * 10**6, {}]]),
        (("ezkl", "einsum_params", "equations"), [["ab->a", {"a": -1}]]),
        (("ezkl", "model_instance_shapes"), [[1, 16], [10**12], [1, 3]]),
        (("ezkl", "model_instance_shapes"), [[1, 16], [1, 4]]),
        (("ezkl", "model_instance_shapes"), [[1, 16], [4, 1], [1, 3]]),
        (("ezkl", "model_output_scales"), [10**6]),
        (("ezkl", "model_output_scales"), []),
        (("ezkl", "model_output_scales"), [-3]),
        (("ezkl", "model_input_scales"), [7, 7]),
        (("ezkl", "input_types"), ["F32", "F32"]),
        (("ezkl", "module_sizes", "polycommit"), [12]),
        (("ezkl", "module_sizes", "poseidon"), [1, [1]]),
        (("ezkl", "required_range_checks"), [[0, 10**12]]),
        (("ezkl", "required_range_checks"), [[1, 0]]),
        (("ezkl", "required_lookups"), [{"Sigmoid": {"scale": "x"}}]),
        (("ezkl", "required_lookups"), ["A" * 10**5]),
        (("ezkl", "version"), "22.0.0"),
        (("ezkl", "timestamp"), 1),
        (("balance", "format"), 2),
        (("balance", "inputs"), []),
        (("balance", "outputs", 0, "shape"), [10**6, 10**6]),
        (("balance", "outputs", 0, "dtype"), "complex64"),
        (("balance", "outputs", 0, "name"), ""),
        (("balance", "inputs", 0, "name"), "balance.context"),
        (("balance", "surprise"), 1),
    ],
)
def test_settings_of_another_kind_are_refused(tiny, path, value):
    assert "settings" in refused(tiny, altered(tiny, path, value))


@pytest.mark.parametrize("name", ["run_args", "num_rows", "model_instance_shapes", "check_mode"])
def test_settings_with_a_field_missing_are_refused(tiny, name):
    document = json.loads(tiny.key.parts["settings"])
    del document["ezkl"][name]
    assert name in refused(tiny, tiny.with_part("settings", canonical.encode(document)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"balance":{},"balance":{}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":NaN}',
        b'{"a":1e999}',
        b" " * (2**24 + 1),
    ],
)
def test_settings_that_are_no_settings_are_refused(tiny, data):
    refused(tiny, tiny.with_part("settings", data))


def test_settings_have_one_encoding(tiny):
    data = tiny.key.parts["settings"]
    for other in (data + b"\n", b" " + data, json.dumps(json.loads(data), indent=1).encode()):
        assert "canonical" in refused(tiny, tiny.with_part("settings", other))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*RUN, "logrows"), 26),
        ((*RUN, "num_inner_cols"), 7),
        ((*RUN, "num_inner_cols"), 64),
        (("ezkl", "total_assignments"), 1),
        (("ezkl", "total_assignments"), 40_000),
        (("ezkl", "total_const_size"), 5_000),
        (("ezkl", "num_shuffles"), 3),
        (("ezkl", "num_dynamic_lookups"), 3),
        (("ezkl", "required_lookups"), [{"Sigmoid": {"scale": 1.0}}]),
        (("ezkl", "required_lookups"), [{"Unheard": {"of": 1.0}}]),
        (("ezkl", "required_range_checks"), []),
        (("ezkl", "einsum_params", "total_einsum_col_size"), 5_000),
        (("ezkl", "einsum_params", "equations"), [["ab,bc->ac", {"a": 2, "b": 2}]]),
        ((*RUN, "disable_freivalds"), True),
    ],
)
def test_settings_of_another_circuit_never_pass_for_this_one(tiny, path, value):
    """ezkl builds its verifier from the settings: other ones either do not fit, or are named in the statement."""
    key = altered(tiny, path, value)
    assert key.circuit_id != tiny.key.circuit_id
    try:
        (statement,) = EzklVerifier().verify(key, None, tiny.proof)
    except InvalidProof:
        return
    assert statement.circuit_id == key.circuit_id


def test_keys_that_are_no_keys_are_refused(tiny):
    own = tiny.key.parts["key"]
    head = own[:8]
    for data in (
        b"",
        head,
        own[:-1],
        own[: len(own) // 2],
        head + bytes(len(own) - 8),
        head + b"\xff" * 200,
        own[::-1],
    ):
        refused(tiny, tiny.with_part("key", data))


def test_key_of_another_size_of_circuit_is_refused(tiny):
    own = bytearray(tiny.key.parts["key"])
    own[1] = 40
    assert "not one of ezkl's" in refused(tiny, tiny.with_part("key", bytes(own)))


def test_a_key_says_that_there_are_many_columns(tiny):
    """The number of fixed columns stands before them: a huge one must not be believed."""
    own = bytearray(tiny.key.parts["key"])
    own[3:7] = b"\xff\xff\xff\x7f"
    refused(tiny, tiny.with_part("key", bytes(own)))


@pytest.mark.parametrize("missing", ["key", "settings", "srs"])
def test_parts_must_be_complete(tiny, missing):
    parts = {name: data for name, data in tiny.key.parts.items() if name != missing}
    assert "parts" in refused(tiny, VerifyingKey("ezkl", parts))


def test_unknown_parts_are_refused(tiny):
    assert "parts" in refused(tiny, tiny.with_part("more", b""))


def test_reference_string_is_judged_point_by_point(tiny):
    own = tiny.key.parts["srs"]
    assert len(own) == CUT_BYTES
    twice = bn254.raw(
        1368015179489954701390400359078579693043519447331113978918064868415326638035,
        9918110051302171585080402603319702774565515993150576347155970296011118125764,
    )
    other_g = own[:4] + twice + twice + own[132:]
    off_curve = own[:-32] + bytes(32)
    infinity = own[:260] + bytes(128)
    for data in (
        other_g,
        off_curve,
        infinity,
        b"\1" + own[1:],
        own + b"\0",
        own[:-1],
        own[:4] + own[68:132] + own[:64],
    ):
        refused(tiny, tiny.with_part("srs", data))


def test_proofs_made_with_another_secret_are_refused(tiny):
    """A verifier believes whichever s_g2 it is given, so it is part of what circuit_id pins."""
    g2 = Parameters.of_cut(tiny.key.parts["srs"]).g2
    forged = tiny.key.parts["srs"][:-128] + g2
    key = tiny.with_part("srs", forged)
    assert key.circuit_id != tiny.key.circuit_id
    refused(tiny, key)


def test_trust_is_told_by_the_points(tiny):
    trust = EzklVerifier().setup_trust(tiny.key)
    assert trust.trust is Trust.INSECURE_TEST
    assert trust == tiny.circuit.setup_trust
    ceremony = Parameters.of_cut(tiny.key.parts["srs"][:-128] + CEREMONY_S_G2)
    assert EzklVerifier().setup_trust(tiny.with_part("srs", ceremony.cut)).trust is Trust.CEREMONY


CEREMONY_S_G2 = bn254.raw(
    21831381940315734285607113342023901060522397560371972897001948545212302161822,
    17231025384763736816414546592865244497437017442647097510447326538965263639101,
    2388026358213174446665280700919698872609886601280537296205114254867301080648,
    11507326595632554467052522095592665270651932854513688777769618397986436103170,
)
