from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.compare import specimens

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool():
    path = ROOT / "tools" / "readme_tables.py"
    specification = importlib.util.spec_from_file_location("readme_tables", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return specimens.store(tmp_path_factory.mktemp("results"), specimens.mnist())


def page(*parts):
    blocks = (f"<!-- balance report: {part} -->\nold\n<!-- balance report: end -->\n" for part in parts)
    return "# A page\n\nbefore\n\n" + "\nbetween\n\n".join(blocks) + "\nafter\n"


def test_tables_are_written_between_their_markers(tool, results):
    after = tool.rewritten(page("support", "figures"), results)
    assert "old" not in after
    assert after.startswith("# A page\n\nbefore\n")
    assert after.endswith("\nafter\n")
    assert "\nbetween\n" in after
    assert "| model | ezkl | giza_orion | zkml_halo2 | integer |" in after
    assert "| mnist_cnn | zkml_halo2 | **500 ms** | **590 ms** |" in after


def test_writing_twice_changes_nothing(tool, results):
    once = tool.rewritten(page("support", "security", "figures"), results)
    assert tool.rewritten(once, results) == once


def test_a_page_without_markers_needs_no_results(tool, tmp_path):
    assert tool.rewritten("# nothing\n", tmp_path / "nowhere") == "# nothing\n"


def test_a_marker_of_no_table_is_an_error(tool, results):
    with pytest.raises(ValueError, match="no table is called"):
        tool.rewritten(page("speed"), results)


def test_the_readme_is_in_step_with_the_stored_run(tool):
    text = tool.README.read_text(encoding="utf-8")
    assert tool.rewritten(text, tool.RESULTS) == text


def test_check_says_what_is_out_of_step_and_writes_nothing(tool, results, tmp_path, monkeypatch, capsys):
    readme = tmp_path / "README.md"
    readme.write_text(page("support"))
    monkeypatch.setattr(tool, "README", readme)
    assert tool.main([str(results), "--check"]) == 1
    assert readme.read_text() == page("support")
    assert tool.main([str(results)]) == 0
    assert tool.main([str(results), "--check"]) == 0
    assert tool.main([str(tmp_path / "nowhere"), "--check"]) == 2
    assert "out of step" in capsys.readouterr().err
