"""Reading results: what is not whole, not theirs or not bounded is named and left out, and never fatal."""

from __future__ import annotations

import json

import pytest

from balance_core.compare import loading
from balance_core.compare.results import Cell, Status, settings_id
from balance_core.errors import ConfigError
from tests.compare import specimens


@pytest.fixture
def stored(tmp_path):
    return specimens.store(tmp_path / "results", specimens.mnist())


def test_what_is_written_is_read(stored):
    found = loading.load(stored)
    assert not found.unreadable
    assert set(found.by_path()) == {cell.path for cell in specimens.mnist()}
    for cell in specimens.mnist():
        assert loading.read_cell(stored / cell.path) == cell


def first(stored):
    return min(stored.glob("*/*/*.json"))


BROKEN = {
    "cut short": lambda text: text[: len(text) // 2],
    "empty": lambda _: "",
    "no object": lambda _: "[]",
    "a key that nobody knows": lambda text: text.replace('"status"', '"colour": "red",\n "status"', 1),
    "a key twice": lambda text: text.replace('"status"', '"seed": 0, "seed": 0,\n "status"', 1),
    "not a number": lambda text: text.replace('"seed": ', '"seed": NaN, "was": ', 1),
    "a negative time": lambda text: text.replace('"wall_seconds": ', '"wall_seconds": -', 1),
    "another status": lambda text: text.replace('"status": "ok"', '"status": "fine"', 1),
    "another version": lambda text: text.replace('"schema_version": 1', '"schema_version": 2'),
    "nested without end": lambda _: "[" * 100_000,
    "no text": lambda text: "\udcff" + text,
    "too large": lambda text: text + " " * loading.MAX_CELL_BYTES,
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_file_is_named_and_the_others_are_read(stored, how):
    path = first(stored)
    path.write_bytes(BROKEN[how](path.read_text()).encode(errors="surrogateescape"))
    found = loading.load(stored)
    assert [file.path for file in found.unreadable] == [path.relative_to(stored).as_posix()]
    assert found.unreadable[0].reason
    assert len(found.cells) == len(specimens.mnist()) - 1


def test_a_file_that_lies_elsewhere_than_it_says_is_not_read(stored):
    path = first(stored)
    path.rename(path.with_name("ezkl-00000000.json"))
    found = loading.load(stored)
    assert "the path is the key" not in found.unreadable[0].reason
    assert "holds the result of" in found.unreadable[0].reason


def test_settings_that_were_edited_change_the_key(stored):
    path = first(stored)
    value = json.loads(path.read_text())
    value["settings"]["tuned"] = True
    path.write_text(json.dumps(value))
    assert "holds the result of" in loading.load(stored).unreadable[0].reason


def test_what_is_hidden_or_linked_is_no_result(stored, tmp_path):
    path = first(stored)
    (path.parent / ".partial-x.json").write_text("{")
    (path.parent / "linked.json").symlink_to(path)
    (stored / ".lock").touch()
    (tmp_path / "else").mkdir()
    (stored / "away").symlink_to(tmp_path / "else", target_is_directory=True)
    assert not loading.load(stored).unreadable


def test_machines_are_merged_and_the_later_cell_counts(tmp_path):
    old = specimens.cell("mnist_mlp", "ezkl", ended="2026-01-01T00:00:00Z")
    new = old.model_copy(update={"ended": "2026-02-01T00:00:00Z", "notes": ("newer",)})
    other = specimens.cell("mnist_mlp", "ezkl", on="other")
    one = specimens.store(tmp_path / "one", [old])
    two = specimens.store(tmp_path / "two", [new, other])
    for folders in ((one, two), (two, one)):
        found = loading.load(*folders)
        assert set(found.machines) == {"two-cores", "other"}
        assert {cell.notes for cell in found.cells if cell.machine == "two-cores"} == {("newer",)}
        assert len(found.cells) == 2


def test_a_machine_in_anothers_folder_is_not_read(stored):
    (stored / "two-cores").rename(stored / "renamed")
    with pytest.raises(ConfigError, match="holds no results"):
        loading.load(stored)


@pytest.mark.parametrize("what", ["nothing", "empty"])
def test_a_folder_without_results_is_an_error_with_a_hint(tmp_path, what):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as caught:
        loading.load(tmp_path / what)
    assert "balance compare" in caught.value.hint


def test_the_number_of_files_is_bounded(stored, monkeypatch):
    monkeypatch.setattr(loading, "MAX_CELLS", 3)
    with pytest.raises(ConfigError, match="more than 3 files"):
        loading.load(stored)


def test_limits_are_no_part_of_the_key_and_conditions_are():
    cell = specimens.cell("mnist_mlp", "ezkl")

    def key(**changes):
        return settings_id(cell.backend, cell.settings, cell.conditions.model_copy(update=changes))

    assert key(timeout_seconds=5.0, memory_bytes=10, repeats=9) == cell.settings_id
    others = [key(threads=7), key(quick=True), key(inputs="0" * 64), key(visibility={"weights": "private"})]
    assert len({*others, cell.settings_id}) == 5
    upgraded = cell.backend.model_copy(update={"version": "next"})
    assert settings_id(upgraded, cell.settings, cell.conditions) != cell.settings_id


def test_only_what_ended_well_and_is_sound_is_ranked():
    cell = specimens.cell("mnist_mlp", "ezkl")
    assert cell.ranked
    for status in Status:
        assert cell.model_copy(update={"status": status}).ranked == (status is Status.OK)
    unsound = cell.backend.capabilities.model_copy(update={"sound": False})
    backend = cell.backend.model_copy(update={"capabilities": unsound})
    assert not cell.model_copy(update={"backend": backend}).ranked


def test_a_stage_that_nobody_knows_is_no_cell():
    value = specimens.cell("mnist_mlp", "ezkl").model_dump(mode="json")
    value["stages"]["dream"] = value["stages"]["prove"]
    with pytest.raises(ConfigError, match="no stage is called 'dream'"):
        Cell.from_value(value)
