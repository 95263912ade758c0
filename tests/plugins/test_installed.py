"""A third party's plugin is found, described and usable as soon as it is installed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from balance_core import registry
from balance_core.errors import PluginNotFound

pytestmark = pytest.mark.plugin("echo")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    try:
        registry.info("backends", "echo")
    except PluginNotFound:
        pytest.skip("balance-echo is not installed: pip install -e tests/plugins/echo")
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "home"))
    return tmp_path


def balance(*arguments: str) -> str:
    command = [sys.executable, "-m", "balance_core.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_found():
    found = registry.info("backends", "echo")
    assert found.distribution == "balance-echo"
    assert registry.info("verifiers", "echo").distribution == "balance-echo"
    assert "balance-echo" in balance("plugins", "list")


def test_it_is_described():
    shown = balance("plugins", "show", "echo")
    assert "Repeats the answer, and proves nothing." in shown
    assert "binds context" in shown


def test_it_proves_and_verifies_a_model(home):
    import balance_core
    from balance_core.testing.models import kit_models

    model = home / "model.onnx"
    model.write_bytes(kit_models().main.onnx)
    asked = np.linspace(-1, 1, 4, dtype=np.float32).reshape(1, 1, 4)
    run = balance_core.run(model, asked, backend="echo")
    assert not registry.load("backends", "echo").capabilities.sound
    (stated,) = run.statement.inputs
    assert np.abs(stated.real() - asked[0]).max() <= 2**-12
    verified = balance_core.verify(run.bundle, registration=run.receipt.registration)
    assert verified.statements == (run.statement,)
