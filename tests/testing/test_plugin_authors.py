"""docs/plugin-authors.md: its excerpts are the skeleton's own text, and its tests pass against the skeleton."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from balance_core.scaffold import write_plugin

PAGE = Path(__file__).resolve().parents[2] / "docs" / "plugin-authors.md"
BLOCK = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = [match.groups() for match in BLOCK.finditer(PAGE.read_text())]
ENTRY = '[project.entry-points."balance.conformance"]\n"backends.mine" ='


@pytest.fixture(scope="module")
def skeleton(tmp_path_factory):
    return write_plugin("mine", "backends", tmp_path_factory.mktemp("skeleton"))[0].parent


def test_every_block_is_an_excerpt_or_a_test():
    kinds = [marker or "" for marker, _, text in BLOCKS if not text.startswith(ENTRY)]
    assert len(kinds) >= 9
    assert all(kind == "test" or kind.startswith("file: ") for kind in kinds)


def test_excerpts_are_the_skeletons_own_text(skeleton):
    for marker, _, text in BLOCKS:
        if marker and marker.startswith("file: "):
            assert text in (skeleton / marker.removeprefix("file: ")).read_text(), text


def test_files_of_the_page_are_those_of_the_skeleton(skeleton):
    tree = PAGE.read_text().split("    balance-mine/\n")[1].split("\n\n")[0]
    told = {line.split()[0] for line in tree.splitlines()}
    assert told == {str(path.relative_to(skeleton)) for path in skeleton.rglob("*") if path.is_file()}


def test_entry_point_of_the_page_is_the_one_that_is_looked_for():
    from balance_core.testing import checking

    assert f'[project.entry-points."{checking.GROUP}"]\n"backends.mine" = ' in PAGE.read_text()


def test_tests_of_the_page_pass_and_nothing_is_skipped(skeleton, tmp_path):
    info = tmp_path / "site" / "balance_mine-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: balance-mine\nVersion: 0.1.0\n")
    points = re.findall(
        r'^\[project\.entry-points\."(.*)"\]\nmine = "(.*)"', (skeleton / "pyproject.toml").read_text(), re.MULTILINE
    )
    (info / "entry_points.txt").write_text("".join(f"[{group}]\nmine = {target}\n" for group, target in points))
    for number, (marker, _, text) in enumerate(BLOCKS):
        if marker == "test":
            (tmp_path / f"test_{number}.py").write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    path = os.pathsep.join([str(info.parent), str(skeleton), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:hypothesispytest",
            "-k",
            "value or answers",
            str(tmp_path),
        ],
        env={**os.environ, "PYTHONPATH": path, "BALANCE_REQUIRE": "mine"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"\d+ passed, \d+ deselected, 1 xfailed in", done.stdout), done.stdout[-300:]
