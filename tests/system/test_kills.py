"""`kill -9` at any moment: nothing half-written is taken for whole, and the next run completes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from balance_core import registry
from balance_core.testing import models

pytestmark = pytest.mark.slow

BALANCE = (sys.executable, "-m", "balance_core.cli")
MOMENTS = 20


@pytest.fixture
def folder(tmp_path, monkeypatch):
    if "ezkl" not in registry.names("backends"):
        pytest.skip("balance-ezkl is not installed")
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "home"))
    (tmp_path / "tiny.onnx").write_bytes(models.mlp(seed=1).SerializeToString())
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32))
    return tmp_path


def start(folder: Path, number: int) -> subprocess.Popen[str]:
    """Start a run whose setting differs from every other's, so that no stage is skipped."""
    return subprocess.Popen(
        [*BALANCE, "run", "tiny.onnx", "-i", "x.npy", "--backend", "ezkl", "-o", f"min_agreement=0.{900 + number}"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def workers(folder: Path) -> list[int]:
    """Return the processes of this test's runs, supervisors and workers alike."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            ours = f"BALANCE_HOME={folder / 'home'}\0".encode() in (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if ours and b"balance_core.worker" in command:
            found.append(int(entry.name))
    return sorted(found)


def test_runs_killed_at_twenty_moments_leave_nothing_and_the_next_completes(folder):
    begun = time.monotonic()
    out, _ = (whole := start(folder, 0)).communicate(timeout=300)
    assert whole.returncode == 0, out
    length = time.monotonic() - begun

    chance = random.Random(20)
    for number in range(1, MOMENTS + 1):
        process = start(folder, number)
        time.sleep(length * number / (MOMENTS + 1))
        victims = workers(folder) if number % 2 else []
        os.kill(chance.choice(victims) if victims else process.pid, signal.SIGKILL)
        out, _ = process.communicate(timeout=300)
        assert "Traceback" not in out
        end = time.monotonic() + 10
        while workers(folder):
            assert time.monotonic() < end, "a process was left behind"
            time.sleep(0.02)

    out, _ = (last := start(folder, MOMENTS + 1)).communicate(timeout=300)
    assert last.returncode == 0, out
    assert "verified" in out
    home = folder / "home"
    left = [path for path in home.rglob("*") if "partial" in str(path.relative_to(home)) and path.is_file()]
    assert not left
    assert [path.name for path in (home / "scratch").iterdir()] == [".lock"]
    subprocess.run([*BALANCE, "ledger", "verify"], cwd=folder, check=True)
    for bundle in (home / "runs").glob("*/proof.balance"):
        assert (bundle.parent / "receipt.json").exists() or bundle.stat().st_size > 0


@pytest.fixture
def interruptible():
    """Let runs be interrupted where the tests run in the background, and ignore interrupts themselves."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("later", [0.0, 0.1, 0.5])
def test_an_interrupt_stops_the_whole_tree_at_once(folder, later):
    process = start(folder, 1)
    end = time.monotonic() + 60
    while not workers(folder):
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(later)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - begun < 3
    assert "Traceback" not in out
    while workers(folder):  # one that was being started sees by itself that nobody waits for it
        assert time.monotonic() - begun < 5
        time.sleep(0.02)
    assert not list((folder / "home" / "scratch").glob("*/work"))
