"""A backend that cheats is refused, whatever it declares, and stands in no ranking."""

from __future__ import annotations

import pytest
from compare_cheats import CHEATS
from compare_site import of_module

from balance_core.compare import engine, loading
from balance_core.compare.results import Status
from balance_core.compare.subjects import Subject

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cells(place, small, installed):
    backends = {"first": ("compare_mock:First", "compare_mock:MockVerifier"), **of_module("compare_cheats")}
    installed(backends)
    options = engine.Options(results=place / "results", timeout_seconds=60, repeats=1, threads=1, quick=True)
    engine.compare([Subject(small / "one.onnx")], [engine.Contender(name) for name in backends], options)
    return {cell.backend.name: cell for cell in loading.load(place / "results").cells}


@pytest.mark.parametrize("name", CHEATS)
def test_it_is_refused(cells, name):
    cell = cells[name]
    assert cell.status is Status.REFUSED, cell.reason
    assert CHEATS[name] in cell.reason
    assert cell.backend.capabilities.sound
    assert not cell.ranked


def test_an_honest_one_is_not(cells):
    assert cells["first"].status is Status.OK
    assert cells["first"].ranked


def test_every_cheat_was_tried(cells):
    assert set(cells) == {"first", *CHEATS}
