"""What the harness reports is what the kernel says, whoever of a stage's processes it is about."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from balance_core import processes
from balance_core.compare.stages import Course
from balance_core.model.load import load
from balance_core.stages import Limits
from balance_core.workspace import Workspace

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's high-water marks are Linux's")
TIME = Path("/usr/bin/time")
TIMED = """#!/bin/sh
# The arguments are those of a worker: -P -m MODULE REPORTS PARENT STAGE PLUGIN; its parent is now `time`.
run='exec {python} -P -m balance_core.worker "$0" "$PPID" "$1" "$2"'
exec {time} -o {note} -f "%e %U %S" sh -c "$run" "$4" "$6" "$7"
"""


@pytest.fixture(scope="module", autouse=True)
def backend(installed):
    installed({"measured": ("compare_measured:Measured", "compare_mock:MockVerifier")})


@pytest.fixture
def measured(place, small, tmp_path):
    """A function that has the backend do something in its check stage, and returns the sample of it."""
    workspace = Workspace(place / "home")
    workspace.root.mkdir(exist_ok=True)
    (tmp_path / "model").write_bytes(load(small / "one.onnx").to_bytes())
    model = workspace.publish(tmp_path / "model")

    def measure(**settings):
        course = Course("measured", settings, Limits(seconds=300, threads=1), tmp_path / "cell", place / "srs")
        return course.measured("check", workspace, blobs={"model": model})[1]

    return measure


@pytest.mark.slow
@pytest.mark.parametrize("large_parent", [False, True], ids=["small parent", "large parent"])
@pytest.mark.parametrize("below", [0, 1, 2], ids=["worker", "child", "grandchild"])
def test_memory_is_the_kernels_high_water_mark(measured, tmp_path, below, large_parent):
    megabytes = 300
    kept = b"x" * (600 << 20) if large_parent else b""
    sample = measured(does="hold", megabytes=megabytes, below=below, note=str(tmp_path / "note"))
    marks = [int(line) << 10 for line in (tmp_path / "note").read_text().split()]
    assert len(marks) == below + 1
    assert max(marks) >= megabytes << 20
    assert sample.peak_memory_bytes == pytest.approx(sum(marks), rel=0.05)
    assert len(kept) in {0, 600 << 20}


@pytest.mark.bench
@pytest.mark.skipif(not TIME.exists(), reason="there is no /usr/bin/time")
def test_seconds_are_those_of_time_around_the_same_worker(measured, tmp_path, monkeypatch, capsys):
    """Wall seconds as they stand; of the processor's, `time` counts Python's start and the supervisor's looks too.

    The former are told by an empty stage, and the latter are more on a machine that is busy with other work.
    """
    note = tmp_path / "time"
    wrapper = tmp_path / "timed"
    wrapper.write_text(TIMED.format(time=TIME, note=note, python=sys.executable))
    wrapper.chmod(0o700)
    monkeypatch.setattr(processes.sys, "executable", str(wrapper))
    measured(does="hold", megabytes=0, note=str(tmp_path / "empty"))
    _, *starting = map(float, note.read_text().split()[-3:])
    sample = measured(does="burn", seconds=30.0)
    wall, *processor = map(float, note.read_text().split()[-3:])
    spent = sum(processor) - sum(starting)
    with capsys.disabled():
        print(  # noqa: T201 - what a benchmark finds is to be seen
            f"\nwall {sample.wall_seconds:.2f} s, time says {wall:.2f} s ({sample.wall_seconds / wall - 1:+.2%}); "
            f"processor {sample.cpu_seconds:.2f} s, time says {sum(processor):.2f} s, of which {sum(starting):.2f} s "
            f"to start ({sample.cpu_seconds / spent - 1:+.2%})"
        )
    assert sample.wall_seconds == pytest.approx(wall, rel=0.03)
    assert sample.cpu_seconds == pytest.approx(spent, rel=0.05)
