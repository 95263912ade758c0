"""The skeletons of `balance plugins new` install, and keep the kit's promises as they are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from balance_core.errors import ConfigError
from balance_core.scaffold import write_plugin

KINDS = ("backends", "chains", "converters", "storage")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which pip has installed one skeleton of each kind."""
    sources, target = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("installed")
    folders = [str(write_plugin(f"new-{kind}", kind, sources)[0].parent) for kind in KINDS]
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", str(target), *folders], check=True)
    return target


def run(installed, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-m", "balance_core.cli", *command],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_skeleton_keeps_every_promise(installed, kind):
    done = run(installed, "plugins", "check", f"new-{kind}", "--kind", kind)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "BROKEN" not in done.stdout
    assert done.stdout.splitlines()[-1].endswith("0 broken")


def test_skeleton_is_found_and_described(installed):
    listed = run(installed, "plugins", "list").stdout
    assert all(f"new-{kind}" in listed for kind in KINDS)
    shown = run(installed, "plugins", "show", "new-backends").stdout
    assert "bits=12" in shown
    assert "binary digits" in shown


def test_broken_promise_is_told_with_its_reason(installed):
    module = installed / "balance_new_storage" / "__init__.py"
    whole = module.read_text()
    assert "if cids.of_bytes(data) != cid:" in whole
    module.write_text(whole.replace("if cids.of_bytes(data) != cid:", "if False:"))
    try:
        done = run(installed, "plugins", "check", "new-storage", "--kind", "storage")
    finally:
        module.write_text(whole)
    assert done.returncode == 3
    assert "BROKEN  Not one byte comes out of damaged content" in done.stdout
    assert "promises kept, 2 broken" in done.stdout


def test_files_are_told_in_an_order_that_starts_with_pyproject(tmp_path):
    written = write_plugin("mine", "backends", tmp_path)
    assert written[0] == tmp_path / "balance-mine" / "pyproject.toml"
    assert sorted(written) == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert not [path for path in written if "$" in path.read_text()]


@pytest.mark.parametrize("name", ["", "Mine", "1st", "a b", "../evil", "x" * 41, "mine-", "a--b", "mine\n"])
def test_bad_name_is_refused(tmp_path, name):
    with pytest.raises(ConfigError):
        write_plugin(name, "backends", tmp_path)
    assert not list(tmp_path.iterdir())


def test_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="executors"):
        write_plugin("mine", "executors", tmp_path)


def test_nothing_is_overwritten(tmp_path):
    write_plugin("mine", "storage", tmp_path)
    with pytest.raises(ConfigError, match="something at"):
        write_plugin("mine", "storage", tmp_path)


def test_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError):
        write_plugin("mine", "storage", tmp_path / "file")
