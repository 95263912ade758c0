"""A backend that goes wrong gives a cell that says how, and its neighbours are measured as if it were not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from compare_misbehaviour import ENDS
from compare_site import of_module

from balance_core.compare import engine, loading
from balance_core.compare.results import Status
from balance_core.compare.subjects import Subject

pytestmark = pytest.mark.slow

WILD = {"wild": ("compare_wild:Wild", "compare_mock:MockVerifier"), "lost": ("nowhere:Lost", "nowhere:Lost")}


@pytest.fixture(scope="module")
def cells(place, small, installed):
    """All that misbehave between two honest backends, compared at once."""
    honest = {"first": ("compare_mock:First", "compare_mock:MockVerifier")}
    honest |= {"last": ("compare_mock:Last", "compare_mock:MockVerifier")}
    backends = {**honest, **of_module("compare_misbehaviour"), **WILD}
    installed(backends)
    options = engine.Options(
        results=place / "results", timeout_seconds=8, memory_bytes=600 * 2**20, repeats=1, threads=1
    )
    outcome = engine.compare([Subject(small / "one.onnx")], [engine.Contender(name) for name in backends], options)
    stored = loading.load(place / "results")
    assert not stored.unreadable
    assert {cell.path for cell in stored.cells} == {cell.path for cell in outcome.measured}
    return {cell.backend.name: cell for cell in stored.cells}


@pytest.mark.parametrize("name", ENDS)
def test_its_cell_says_how_it_ended(cells, name):
    status, stage, words = ENDS[name]
    cell = cells[name]
    assert (cell.status, cell.stopped_at) == (status, stage), cell.reason
    assert words in cell.reason
    if stage in cell.stages and status != "unsupported":
        assert cell.stages[stage].status is not Status.OK or status in {"failed", "refused"}


@pytest.mark.parametrize("name", ["first", "last"])
def test_its_neighbours_are_measured(cells, name):
    cell = cells[name]
    assert cell.status is Status.OK, cell.reason
    assert [len(cell.samples(stage)) for stage in ("setup", "execute", "prove", "verify")] == [1, 1, 1, 1]
    assert cell.tamperings
    assert all(attempt.rejected for attempt in cell.tamperings)


@pytest.mark.parametrize("name", WILD)
def test_one_that_cannot_even_be_imported_is_a_failed_cell(cells, name):
    assert cells[name].status is Status.FAILED
    assert cells[name].reason
    assert cells[name].backend.version == "unknown"
    assert not cells[name].stages


def test_what_was_measured_before_a_failure_is_kept(cells):
    assert len(cells["hangs"].samples("setup")) == 1
    assert cells["hangs"].faithfulness is not None
    assert 8 <= cells["hangs"].stages["prove"].failed_after_seconds < 30


def test_nothing_that_it_started_is_left(cells, place):
    assert cells
    ours = f"BALANCE_HOME={place / 'home'}".encode()
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                ours in (process / "environ").read_bytes()
                and b"time.sleep(600)" in (process / "cmdline").read_bytes()
            ):
                left.append(process.name)
        except OSError:
            continue
    assert not left


def test_nothing_that_it_wrote_is_left(cells, place):
    assert cells
    left = [path for path in (place / "home" / "scratch").iterdir() if path.name != ".lock"]
    assert not left
