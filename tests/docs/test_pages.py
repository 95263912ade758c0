"""The pages: their Python runs as it stands, their commands exist, and their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from balance_core import registry
from balance_core.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("plugins/*/README.md"))]
OWN_TEST = {"plugin-authors.md"}
"""Pages whose blocks build something step by step, and are run by a test of their own."""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Return the lines that start with `balance`, in code blocks of any kind and in the text."""
    text = page.read_text()
    lines = re.findall(r"^(?: {4}|)(balance [a-z].*)$", text, re.MULTILINE)
    return lines + re.findall(r"`(balance [a-z][^`]*)`", text)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page) and page.name not in OWN_TEST], ids=name)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    if "ezkl" not in registry.names("backends"):
        pytest.skip("balance-ezkl is not installed")
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks(page):
        exec(compile(block, name(page), "exec"), namespace)  # noqa: S102 - the pages are ours


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_commands_of_a_page_exist(page):
    for line in commands(page):
        words = [word for word in shlex.split(line.partition("#")[0])[1:] if word != "..."]
        command = typer.main.get_command(app)
        while hasattr(command, "commands") and words and not words[0].startswith("-"):
            first = words.pop(0).rstrip(",")
            # By the group itself, which also knows the commands that installed plugins bring.
            command = command.get_command(None, first)
            assert command is not None, f"{name(page)}: {line}"
        known = {option for parameter in command.params for option in getattr(parameter, "opts", [])} | {"--help"}
        for word in words:
            if word.startswith("--"):
                assert word.partition("=")[0] in known, f"{name(page)}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_links_of_a_page_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{name(page)}: {target}"
