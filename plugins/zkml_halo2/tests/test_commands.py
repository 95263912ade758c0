"""`balance zkml`: from a model file to a verified proof, and what does not verify."""

from __future__ import annotations

import json
import shutil

import msgpack
import pytest
from balance_zkml import files

from balance_core.bn254 import R

from .workshop import ENGINE, UPSTREAM, native, run

pytestmark = pytest.mark.plugin("zkml_halo2")
MNIST = [-5312, -8056, -8186, -1669, -4260, 6614, -5131, -6862, -3047, -805]


@pytest.fixture
def timed(tmp_path, capsys):
    """Prove one answer of an engine's model and return the folder of its files."""

    def prove(folder, *options):
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        assert (
            run("zkml", "time-circuit", folder / "model.msgpack", folder / "inp.msgpack", "--out", out, *options) == 0
        )
        assert "Proving time" in capsys.readouterr().out
        return out

    return prove


def proven(out):
    layout = (out / "public_vals").read_bytes()
    values = [int.from_bytes(layout[i : i + 32], "little") for i in range(0, len(layout), 32)]
    return [value - R if value > R // 2 else value for value in values]


def verify(configuration, out, **replaced):
    paths = {name: replaced.get(name, out / name) for name in ("vkey", "proof", "public_vals")}
    return run("zkml", "verify-circuit", configuration / "config.msgpack", *paths.values())


@native
@pytest.mark.parametrize("name", sorted(path.name for path in ENGINE.iterdir()))
def test_the_engines_integers_are_proven(timed, capsys, name):
    folder = ENGINE / name
    out = timed(folder)
    expected = json.loads((folder / "expected.json").read_text())["outputs"]
    assert proven(out) == expected
    assert msgpack.unpackb((out / "out.msgpack").read_bytes()) == expected
    assert verify(folder, out) == 0
    assert "Proof verified!" in capsys.readouterr().out


@native
@pytest.mark.skipif(not UPSTREAM.is_dir(), reason="the zkml project's own example is not on this machine")
@pytest.mark.parametrize("weights", ["private", "public"])
def test_the_projects_mnist_model_gives_its_known_integers(timed, weights):
    out = timed(UPSTREAM, "kzg", "-o", f"weights={weights}")
    assert proven(out) == MNIST
    assert verify(UPSTREAM, out) == 0


@native
def test_other_files_do_not_verify(timed, tmp_path, capsys):
    name, other = sorted(path.name for path in ENGINE.iterdir())[:2]
    out = timed(ENGINE / name)
    first = shutil.copytree(out, tmp_path / "first")
    timed(ENGINE / name)
    capsys.readouterr()
    claimed = bytearray((first / "public_vals").read_bytes())
    claimed[0] ^= 1
    (tmp_path / "claimed").write_bytes(claimed)
    long = tmp_path / "long"
    long.write_bytes((first / "proof").read_bytes() + b"\x00")
    assert verify(ENGINE / name, first) == 0
    assert verify(ENGINE / name, first, public_vals=tmp_path / "claimed") == 1
    assert verify(ENGINE / name, first, proof=long) == 1
    assert verify(ENGINE / name, first, proof=first / "public_vals") == 1
    # The same model, committed to again: a proof is for its own commitment.
    assert verify(ENGINE / name, first, vkey=out / "vkey") == 1
    assert verify(ENGINE / other, first) == 2
    assert verify(ENGINE / name, first, vkey=first / "proof") == 2


@native
def test_a_test_circuit_keeps_the_integers_alone(tmp_path, capsys):
    folder = next(iter(sorted(ENGINE.iterdir())))
    assert run("zkml", "test-circuit", folder / "model.msgpack", folder / "inp.msgpack", "--out", tmp_path) == 0
    expected = json.loads((folder / "expected.json").read_text())["outputs"]
    assert ", ".join(map(str, expected)) in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["out.msgpack"]


def test_other_schemes_are_refused(capsys):
    folder = next(iter(sorted(ENGINE.iterdir())))
    assert run("zkml", "time-circuit", folder / "model.msgpack", folder / "inp.msgpack", "ipa") == 2
    assert "'ipa'" in capsys.readouterr().err


def test_files_that_are_no_keys_are_named(tmp_path, capsys):
    folder = next(iter(sorted(ENGINE.iterdir())))
    (tmp_path / "vkey").write_bytes(bytes(1000))
    assert verify(folder, tmp_path) == 2
    assert "vkey is no key file" in capsys.readouterr().err
    assert files.VALUE_BYTES == 32
