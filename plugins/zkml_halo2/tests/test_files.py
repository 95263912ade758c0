"""The files of the commands: the layout that others read, and what is refused."""

from __future__ import annotations

import json

import pytest
from balance_zkml import NAME, files

from balance_core.bn254 import R
from balance_core.converters.zkml import ZkmlConverter
from balance_core.converters.zkml.reader import read_configuration
from balance_core.errors import ConfigError, InvalidProof
from balance_core.integer.interface import Interface
from balance_core.records import ModelCommitment, Tensor, VerifyingKey

from .workshop import ENGINE

pytestmark = pytest.mark.plugin("zkml_halo2")
NAMES = sorted(path.name for path in ENGINE.iterdir())


def tensor(*values):
    return Tensor(name="y", shape=(len(values),), integers=values, denominator=512)


def test_a_public_value_is_its_residue_in_32_little_endian_bytes():
    layout = files.public_values([tensor(-1, 258), tensor(0)])
    assert layout == (R - 1).to_bytes(32, "little") + b"\x02\x01" + bytes(30) + bytes(32)


def test_public_values_hold_for_exactly_what_was_proven():
    proven = [tensor(-5312, 8056, 3)]
    claimed = files.public_values(proven)
    files.check_public_values(claimed, proven)
    aliased = (R - 5312 + R).to_bytes(32, "little") + claimed[32:]
    permuted = claimed[32:64] + claimed[:32] + claimed[64:]
    for wrong in (claimed[:-32], claimed[:-1], claimed + bytes(32), b"", aliased, permuted, b"\x00" + claimed[1:]):
        with pytest.raises(InvalidProof):
            files.check_public_values(wrong, proven)


@pytest.mark.parametrize("commitment", [None, ModelCommitment(backend=NAME, provider="00" * 32, data="00ff")])
def test_a_key_file_is_read_back(tmp_path, commitment):
    key = VerifyingKey(NAME, {"key": bytes(range(256)), "structure": b""})
    size = files.write_key(tmp_path / "vkey", key, commitment)
    assert size == (tmp_path / "vkey").stat().st_size
    assert files.read_key(tmp_path / "vkey") == (key, commitment)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 4096,
        b"[]",
        b'{"kind":"zkml-key"}',
        b'{"commitment":null,"parts":{"key":"A"},"schema_version":1}',
        b'{"commitment":null,"parts":{"key":"*"},"schema_version":1}',
        b'{"commitment":null,"parts":{"key":1},"schema_version":1}',
    ],
)
def test_any_other_key_file_is_refused_with_a_hint(tmp_path, data):
    (tmp_path / "vkey").write_bytes(data)
    with pytest.raises(ConfigError, match="no key file") as refusal:
        files.read_key(tmp_path / "vkey")
    assert "time-circuit" in refusal.value.hint


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_goes_with_the_keys_of_its_own_model_alone(name):
    interface = Interface.of(ZkmlConverter().convert(ENGINE / name / "model.msgpack"))
    for other in NAMES:
        configuration = read_configuration(ENGINE / other / "config.msgpack")
        if other == name:
            files.check_configuration(configuration, interface)
        else:
            with pytest.raises(ConfigError, match="another model"):
                files.check_configuration(configuration, interface)


def test_the_engines_answers_are_what_the_files_will_hold():
    expected = json.loads((ENGINE / NAMES[0] / "expected.json").read_text())["outputs"]
    layout = files.public_values([tensor(*expected)])
    assert [int.from_bytes(layout[i : i + 32], "little") for i in range(0, len(layout), 32)] == [
        value % R for value in expected
    ]
