"""What is published: the wheel holds what it needs, and the source archive nobody else's distribution."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    target = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(target)], cwd=ROOT, check=True)
    (wheel,) = target.glob("*.whl")
    (source,) = target.glob("*.tar.gz")
    return set(zipfile.ZipFile(wheel).namelist()), {
        name.partition("/")[2] for name in tarfile.open(source).getnames()
    }


def test_the_wheel_holds_code_example_and_kit_and_nothing_beside(built):
    wheel, _ = built
    assert {name.partition("/")[0] for name in wheel} == {"balance_core", "balance_core-0.1.0.dist-info"}
    assert {
        "balance_core/py.typed",
        "balance_core/examples/mnist/mnist_mlp.onnx",
        "balance_core/examples/mnist/digits.npz",
        "balance_core/testing/plugin.py",
        "balance_core/templates/backends.backend.txt",
        "balance_core-0.1.0.dist-info/licenses/LICENSE",
    } <= wheel


def test_the_source_archive_does_not_swallow_the_plugins(built):
    _, source = built
    assert not any(name.startswith(("plugins/", "tests/", "requirements/")) for name in source)
    assert {"pyproject.toml", "README.md", "LICENSE", "balance_core/contracts/__init__.py"} <= source


def test_the_lock_pins_by_hash_and_names_no_index():
    lock = (ROOT / "requirements" / "dev.txt").read_text()
    assert "://" not in lock
    assert "--hash=sha256:" in lock
    pinned = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert all("==" in line for line in pinned)
