"""The tool that builds the native wheels: each once, again when something changed, and never an obstacle."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[3] / "tools" / "native_wheels.py"
MANIFEST = '[package]\nname = "tiny-native"\nversion = "0.1.0"\nedition = "2021"\n'


@pytest.fixture
def clone(tmp_path):
    """A repository with one plugin, whose crate is a program that prints a flag and a word."""
    crate = tmp_path / "clone" / "plugins" / "tiny" / "native"
    (crate / "src").mkdir(parents=True)
    (crate / ".cargo").mkdir()
    (crate / "Cargo.toml").write_text(MANIFEST + '[dependencies]\nword = { path = "../word" }\n[workspace]\n')
    (crate / "src" / "main.rs").write_text('fn main() { println!("{} {}", env!("FLAG"), word::word()) }\n')
    (crate / ".cargo" / "config.toml").write_text('[env]\nFLAG = "flagged"\n')
    (crate / "prepare.py").write_text("import pathlib, sys\npathlib.Path(sys.argv[1], 'prepared').touch()\n")
    (crate / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["maturin"]\nbuild-backend = "maturin"\n'
        '[project]\nname = "tiny-native"\nversion = "0.1.0"\n[tool.maturin]\nbindings = "bin"\n'
    )
    word = crate.parent / "word"
    (word / "src").mkdir(parents=True)
    (word / "Cargo.toml").write_text('[package]\nname = "word"\nversion = "0.1.0"\nedition = "2021"\n')
    (word / "src" / "lib.rs").write_text('pub fn word() -> &\'static str { "one" }\n')
    (tmp_path / "clone" / "tools").mkdir()
    shutil.copy(TOOL, tmp_path / "clone" / "tools")
    return tmp_path / "clone"


def tool(clone, *, python=sys.executable, path=None, **environment):
    environment = {"BALANCE_BUILD_CACHE": str(clone.parent / "cache"), "BALANCE_REQUIRE": "", **environment}
    scripts = str(Path(sys.executable).parent)
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}" if path is None else path
    environment = {**os.environ, **environment, "PATH": path, "PYTHONPATH": sysconfig.get_path("purelib")}
    command = [python, clone / "tools" / "native_wheels.py"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_without_cargo_one_line_says_what_is_missing(clone):
    result = tool(clone, path="/nowhere")
    assert result.returncode == 0
    assert result.stderr == (
        "note: tiny has no native part: cargo is missing: install Rust 1.95 or newer (rustup), then say make again\n"
    )
    required = tool(clone, path="/nowhere", BALANCE_REQUIRE="ezkl, tiny")
    assert required.returncode == 1
    assert required.stderr.startswith("error: tiny has no native part: cargo")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is missing")
def test_a_wheel_is_built_once_and_again_when_something_changed(clone, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "v"], check=True)
    python = tmp_path / "v" / "bin" / "python"
    native = clone / "plugins" / "tiny" / "native"
    subprocess.run([shutil.which("cargo"), "generate-lockfile", "--offline"], cwd=native, check=True)

    first = tool(clone, python=python)
    assert "building tiny-native" in first.stdout, first.stderr
    assert "installed tiny_native" in first.stdout, first.stderr
    assert list((tmp_path / "cache" / "target").glob("tiny-native-*/prepared"))

    def said():
        return subprocess.run(
            [tmp_path / "v" / "bin" / "tiny-native"], capture_output=True, text=True, check=True
        ).stdout

    assert said() == "flagged one\n"
    again = tool(clone, python=python)
    assert "building" not in again.stdout
    assert again.stdout.startswith("up to date: tiny_native")

    source = clone / "plugins" / "tiny" / "word" / "src" / "lib.rs"
    source.write_text(source.read_text().replace("one", "two"))
    assert "building tiny-native" in tool(clone, python=python).stdout
    assert said() == "flagged two\n"

    source.write_text("not Rust")
    broken = tool(clone, python=python, BALANCE_REQUIRE="tiny")
    assert broken.returncode == 1
    assert "error: tiny has no native part: native: error" in broken.stderr
    assert said() == "flagged two\n"
    assert not (native / "target").exists()


def test_the_keys_follow_what_builds_depend_on(clone, monkeypatch):
    module = runpy.run_path(str(clone / "tools" / "native_wheels.py"))
    (workspace,) = module["workspaces"](clone)
    assert (workspace.plugin, workspace.crates()) == ("tiny", [clone / "plugins" / "tiny" / "native"])
    keys = {workspace.source_key()}
    (workspace.folder / "target").mkdir()
    (workspace.folder / "target" / "built").touch()
    (workspace.folder / "elsewhere").symlink_to("/")
    assert {workspace.source_key()} == keys
    for file in (workspace.folder / "src" / "main.rs", clone / "plugins" / "tiny" / "word" / "src" / "lib.rs"):
        file.write_text(file.read_text() + "\n")
        keys.add(workspace.source_key())
    assert len(keys) == 3

    toolchain = {workspace.toolchain_key("rustc 1"), workspace.toolchain_key("rustc 2")}
    monkeypatch.setenv("RUSTFLAGS", "-C debuginfo=1")
    toolchain.add(workspace.toolchain_key("rustc 1"))
    (workspace.folder / ".cargo" / "config.toml").write_text("[env]\n")
    toolchain.add(workspace.toolchain_key("rustc 1"))
    (workspace.folder / "Cargo.lock").write_text("version = 4\n")
    toolchain.add(workspace.toolchain_key("rustc 1"))
    assert len(toolchain) == 5


def test_every_native_workspace_of_this_repository_is_found():
    module = runpy.run_path(str(TOOL))
    found = {
        (workspace.plugin, crate.name)
        for workspace in module["workspaces"](TOOL.parent.parent)
        for crate in workspace.crates()
    }
    assert {("giza_orion", "prover"), ("giza_orion", "verifier")} <= found


def test_lock_files_name_no_machine():
    locks = sorted(TOOL.parent.parent.glob("plugins/*/native/**/Cargo.lock"))
    assert locks
    for lock in locks:
        sources = {line for line in lock.read_text().splitlines() if line.startswith("source")}
        # Cargo's own name for its registry, the same whatever mirror the crates come from.
        assert sources <= {'source = "registry+https://github.com/rust-lang/crates.io-index"'}
