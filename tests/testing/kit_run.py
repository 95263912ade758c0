"""Runs the kit inside a test, and tells which cases failed."""

from __future__ import annotations

import contextlib
import os

import pytest


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


def run_kit(folder, source: str) -> Findings:
    """Run a test module of the kit's classes in this process."""
    folder.mkdir(exist_ok=True)
    (folder / "test_kit.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\n")
    found = Findings()
    options = ["-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--rootdir", str(folder)]
    options += ["-c", str(folder / "pytest.ini"), "--basetemp", str(folder / "tmp"), "-W", "error"]
    home = os.environ.get("HOME", "")
    os.environ["HOME"] = str(folder)  # a cheat may write anywhere
    try:
        with contextlib.chdir(folder):
            found.exit_code = pytest.main([*options, str(folder / "test_kit.py")], plugins=[found])
    finally:
        os.environ["HOME"] = home
    assert found.exit_code in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}, found.broken
    return found
