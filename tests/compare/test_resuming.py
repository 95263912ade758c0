"""`kill -9` at any moment: no half cell is ever read, and the next run ends with the same set of cells."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from balance_core.compare import loading
from balance_core.compare.results import Status
from balance_core.errors import ConfigError

pytestmark = pytest.mark.slow
MOMENTS = 10
NAMES = ("first", "second")


@pytest.fixture
def command(small, installed):
    installed({name: (f"compare_mock:{name.title()}", "compare_mock:MockVerifier") for name in NAMES})

    def of(results: Path) -> list[str]:
        backends = [part for name in NAMES for part in ("--backend", name)]
        models = [str(small / "one.onnx"), str(small / "two.onnx")]
        options = ["--results", str(results), "--repeat", "1", "--threads", "1", "--quick"]
        return [sys.executable, "-m", "balance_core.cli", "compare", *models, *backends, *options]

    return of


def finished(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def paths(results: Path) -> set[str]:
    """Return the cells of a folder; what cannot be read is an error."""
    try:
        found = loading.load(results)
    except ConfigError:
        return set()
    assert not found.unreadable
    assert {cell.status for cell in found.cells} <= {Status.OK}
    return {cell.path for cell in found.cells}


def test_killed_at_random_moments_it_resumes_to_the_same_cells(command, place):
    began = time.monotonic()
    finished(command(place / "whole"))
    whole = time.monotonic() - began
    wanted = paths(place / "whole")
    assert len(wanted) == 4

    moments = random.Random(9)
    seen: set[str] = set()
    for _ in range(MOMENTS):
        process = subprocess.Popen(
            command(place / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(moments.uniform(0.1, 0.5) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = paths(place / "killed")
        assert seen <= now <= wanted
        seen = now
    said = finished(command(place / "killed"))
    assert paths(place / "killed") == wanted
    assert f"{len(seen)} were there already" in said
    assert "0 cells measured, 4 were there already" in finished(command(place / "killed"))
    assert not left(place)


def left(place: Path) -> list[str]:
    """Return what the killed runs left: workers, and folders of the data folder."""
    ours = f"BALANCE_HOME={place / 'home'}".encode()
    found = [path.name for path in (place / "home" / "scratch").iterdir() if path.name != ".lock"]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                ours in (process / "environ").read_bytes()
                and b"balance_core.worker" in (process / "cmdline").read_bytes()
            ):
                found.append(process.name)
        except OSError:
            continue
    return [name for name in found if name != str(os.getpid())]
