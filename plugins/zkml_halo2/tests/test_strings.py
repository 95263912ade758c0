"""Reference strings: a ceremony's file is imported and trusted for its points, others are refused."""

from __future__ import annotations

import random

import pytest
from balance_zkml.backend import Halo2Backend

from balance_core.errors import BalanceError, ConfigError
from balance_core.records import Trust
from balance_core.srs import SrsStore
from balance_core.workspace import Workspace

from .workshop import CEREMONY, native, run

pytestmark = pytest.mark.plugin("zkml_halo2")


@native
def test_the_ceremonys_file_is_imported_and_trusted(capsys):
    assert run("srs", "import", CEREMONY) == 0
    shown = capsys.readouterr().out
    assert "setup trust ceremony" in shown
    assert "published as powersOfTau28_hez_final_08.ptau" in shown
    assert run("srs", "import", CEREMONY, "--k", "6") == 0
    assert "published" in capsys.readouterr().out
    kept = SrsStore(Workspace.default().srs).all()
    assert [(srs.k, srs.setup_trust.trust) for srs in kept] == [(6, Trust.CEREMONY), (8, Trust.CEREMONY)]


@native
def test_a_raw_string_is_cut_and_checked(tmp_path, capsys):
    backend = Halo2Backend()
    raw = tmp_path / "kzg.srs"
    backend.make_test_srs("bn254", 7, raw)
    assert run("srs", "import", raw) == 0
    assert run("srs", "import", raw, "--k", "5") == 0
    assert capsys.readouterr().out.count("insecure-test") == 2
    cut = tmp_path / "cut.srs"
    assert backend.import_srs(raw, cut, 5) is None
    backend.import_srs(cut, tmp_path / "again.srs")
    assert (tmp_path / "again.srs").read_bytes() == cut.read_bytes()


@native
def test_powers_that_do_not_belong_together_are_refused(tmp_path, capsys):
    """Every point is on the curve, so the core's own check would take them."""
    backend = Halo2Backend()
    raw = tmp_path / "kzg.srs"
    backend.make_test_srs("bn254", 4, raw)
    data = bytearray(raw.read_bytes())
    data[4 + 3 * 64 : 4 + 4 * 64] = data[4 + 5 * 64 : 4 + 6 * 64]
    raw.write_bytes(data)
    assert run("srs", "import", raw) == 2
    assert "consecutive powers" in capsys.readouterr().err
    assert SrsStore(Workspace.default().srs).all() == []


@native
@pytest.mark.parametrize("k", [0, 9, 27, 2**40])
def test_more_powers_than_there_are_cannot_be_taken(tmp_path, k):
    with pytest.raises(ConfigError):
        Halo2Backend().import_srs(CEREMONY, tmp_path / "target", k)


@native
def test_another_curve_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="bn254"):
        Halo2Backend().make_test_srs("bls12-381", 4, tmp_path / "target")


def survive(folder, count, start):
    """Import mutated files, all of which must be refused or be as good as the original; return how many were."""
    backend = Halo2Backend()
    ceremony = CEREMONY.read_bytes()
    backend.make_test_srs("bn254", 5, folder / "raw")
    raw = (folder / "raw").read_bytes()
    refused = 0
    for seed in range(start, start + count):
        chance = random.Random(seed)
        data = bytearray(raw if seed % 2 else ceremony)
        # Headers and points of the powers matter; what serves other proof systems is skipped.
        at = chance.randrange(len(data) if seed % 2 else chance.choice([100, 33000]))
        match chance.randrange(5):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + chance.choice([1, 4, 64])]
            case 2:
                data[at:at] = chance.randbytes(chance.choice([1, 4, 64]))
            case 3:
                data[at : at + 64] = bytes(64)
            case _:
                other = chance.randrange(len(data) - 64)
                data[at : at + 64] = data[other : other + 64]
        (folder / "mutated").write_bytes(data)
        try:
            backend.import_srs(folder / "mutated", folder / "target")
        except BalanceError:
            refused += 1
        else:
            # Only what is not read may differ: the powers beyond 2^8 and all but the first two in G2.
            assert seed % 2 == 0 or data == raw
    return refused


@native
def test_mutated_strings_are_refused_and_nothing_else(tmp_path):
    assert survive(tmp_path, 120, 0) > 60


@native
@pytest.mark.soak
def test_ten_thousand_mutated_strings_are_refused(tmp_path):
    assert survive(tmp_path, 10_000, 1_000) > 5_000
