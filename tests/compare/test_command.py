"""`balance compare` as it is typed, and what it costs to have a contract check a proof."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from balance_core.compare import loading
from balance_core.compare.results import Status

pytestmark = pytest.mark.slow
MOCK = "compare_mock:MockVerifier"


@pytest.fixture(scope="module")
def folder(place, small, installed):
    """A folder with two models, in which a comparison of four backends was run."""
    backends = {
        "first": ("compare_mock:First", MOCK),
        "hangs": ("compare_misbehaviour:Hangs", MOCK),
        "covers": ("compare_misbehaviour:Covers", MOCK),
        "exporting": ("compare_onchain:Exporting", MOCK),
        "toolarge": ("compare_onchain:TooLarge", MOCK),
    }
    installed(backends, {"a_priced": "compare_onchain:PricedLedger"})
    folder = place / "work"
    shutil.copytree(small, folder)
    return folder


def balance(folder, *arguments, code=0):
    command = [sys.executable, "-m", "balance_core.cli", "compare", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def first(folder):
    names = ("first", "hangs", "covers", "exporting", "toolarge")
    backends = [part for name in names for part in ("-b", name)]
    return balance(folder, "one.onnx", *backends, "--quick", "--timeout", "10", "--threads", "1")


@pytest.fixture(scope="module")
def cells(first, folder):
    assert first
    return {cell.backend.name: cell for cell in loading.load(folder / "results").cells}


def test_it_prints_plain_lines_and_a_table_into_a_pipe(first):
    assert "\x1b" not in first.stdout + first.stderr
    assert "one on covers: 1 nodes are not covered" in first.stderr
    assert first.stderr.index("not covered") < first.stderr.index("round 1 of 1")
    assert "one on hangs: timeout: " in first.stderr
    assert "one on first: ok" in first.stderr
    assert "5 cells measured, 0 were there already" in first.stderr
    assert "prove" in first.stdout


def test_all_cells_are_there_whatever_happened(cells):
    assert {name: cell.status for name, cell in cells.items()} == {
        "first": Status.OK,
        "hangs": Status.TIMEOUT,
        "covers": Status.UNSUPPORTED,
        "exporting": Status.OK,
        "toolarge": Status.OK,
    }


def test_a_contracts_cost_is_a_stage(cells):
    cell = cells["exporting"]
    assert (cell.gas.deploy, cell.gas.circuit, cell.gas.verify) == (3, 2, 1)
    assert cell.sizes.calldata == cell.sizes.proof
    assert len(cell.samples("onchain")) == 1
    assert cells["first"].gas.verify is None
    assert "onchain" not in cells["first"].stages


def test_a_proof_that_fits_no_contract_is_no_failed_cell(cells):
    stage = cells["toolarge"].stages["onchain"]
    assert stage.status is Status.UNSUPPORTED
    assert "does not fit a contract" in stage.reason
    assert cells["toolarge"].gas.verify is None


def test_the_same_command_again_does_no_work(cells, folder):
    assert cells
    names = [part for name in cells for part in ("-b", name)]
    again = balance(folder, "one.onnx", *names, "--quick", "--timeout", "10", "--threads", "1")
    assert "0 cells measured, 5 were there already" in again.stderr
    assert "round" not in again.stderr


def test_settings_from_a_file_are_cells_of_their_own(folder):
    (folder / "settings.toml").write_text("[[integer]]\nbits = 8\n[[integer]]\nbits = 10\n")
    done = balance(
        folder, "one.onnx", "two.onnx", "-b", "integer", "--settings", "settings.toml", "--dry-run", "--json"
    )
    planned = json.loads(done.stdout)["planned"]
    assert len(planned) == len(set(planned)) == 4
    typed = balance(folder, "one.onnx", "-b", "integer", "-o", "integer.bits=8", "--dry-run", "--json")
    assert set(json.loads(typed.stdout)["planned"]) < set(planned)


WRONG = {
    "there is nothing to compare": [],
    "no plugin of kind backends": ["one.onnx", "-b", "frist"],
    "names no backend": ["one.onnx", "-b", "first", "-o", "bits=8"],
    "which is not compared": ["one.onnx", "-b", "first", "-o", "integer.bits=8"],
    "has no setting": ["one.onnx", "-b", "integer", "-o", "integer.colour=8"],
    "do not go together": ["one.onnx", "two.onnx", "one.onnx", "-i", "one.npz", "-i", "two.npz"],
    "does not exist": ["one.onnx", "-b", "integer", "--settings", "nowhere.toml"],
    "is no name of a machine": ["one.onnx", "--machine", "../up"],
    "not 'secret'": ["one.onnx", "--weights", "secret"],
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_command_line_is_one_error_and_a_hint(folder, words):
    expected = 3 if "no plugin" in words else 2
    said = balance(folder, *WRONG[words], "--results", "wrong", code=expected).stderr
    assert words in said
    assert "Traceback" not in said
    assert not list((folder / "wrong").glob("*/*/*.json"))
