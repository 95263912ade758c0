"""Runs the kit inside a test, and tells which cases failed."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest

_RUNS = itertools.count(1)


class Findings:
    """Collects which cases failed, by class."""

    def __init__(self) -> None:
        self.failed: dict[str, dict[str, str]] = {}
        self.ran: dict[str, int] = {}
        self.exit_code: int | None = None
        self.broken: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken.append(str(report.longrepr))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        _, cheat, case = report.nodeid.split("::")
        case = case.removeprefix("test_").partition("[")[0]
        if report.failed:
            self.failed.setdefault(cheat, {})[case] = _message(report)
        if report.when == "call":
            self.ran[cheat] = self.ran.get(cheat, 0) + 1


def _message(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr)[:600]


def run_kit(source: str) -> Findings:
    """Run a test module of the kit's classes in this process."""
    found = Findings()
    with tempfile.TemporaryDirectory(prefix="cheats-", dir=_memory()) as name:
        folder = Path(name)
        module = folder / f"test_run_{next(_RUNS)}.py"  # a name of its own, as modules are known by theirs
        module.write_text(source)
        (folder / "pytest.ini").write_text("[pytest]\ntmp_path_retention_policy = none\n")
        options = [
            "-p",
            "no:terminal",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:faulthandler",
            "-p",
            "no:hypothesispytest",
        ]
        options += ["-c", str(folder / "pytest.ini"), "--basetemp", str(folder / "tmp"), "-W", "error"]
        home = os.environ.get("HOME", "")
        os.environ["HOME"] = name  # a cheat may write anywhere
        try:
            with contextlib.chdir(folder):
                found.exit_code = pytest.main([*options, "--rootdir", name, str(module)], plugins=[found])
        finally:
            os.environ["HOME"] = home
    assert found.exit_code in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}, found.broken
    return found


def _memory() -> str | None:
    """Return a folder in memory where there is one of some size: the kit makes thousands of small files."""
    folder = Path("/dev/shm")
    roomy = os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > 2**29
    return str(folder) if roomy else None
