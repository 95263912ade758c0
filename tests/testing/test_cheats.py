"""Every cheat is found out, in exactly the cases that are meant for it."""

from __future__ import annotations

import pytest
from cheating_backends import CHEATS

KIT = """
import pytest

from balance_core.testing import BackendConformance
from cheating_backends import CHEATS

FRESH = {"test_fresh_process_proves", "test_fresh_process_reaches_the_same_verdict"}
SHARED = {}


class Quick(BackendConformance):
    sampled_bytes = 150

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, tmp_path_factory):
        if cls.backend not in SHARED:
            SHARED[cls.backend] = cls.make_bench(tmp_path_factory.mktemp("bench"))
        return SHARED[cls.backend]


for cheat in CHEATS:
    members = {"backend": cheat.backend, "verifier": cheat.verifier, **cheat.hooks}
    for case in FRESH - {f"test_{name}" for name in cheat.caught}:
        members[case] = None  # it takes half a second, and finds nothing in this one
    globals()[f"Test{cheat.name}"] = type(f"Test{cheat.name}", (Quick,), members)
"""
"""Backends are set up once for all verifiers that cheat with them."""


class Findings:
    """Collects which cases failed, by class."""

    def __init__(self) -> None:
        self.failed: dict[str, dict[str, str]] = {}
        self.ran: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        _, cheat, case = report.nodeid.split("::")
        if report.failed:
            self.failed.setdefault(cheat, {})[case.removeprefix("test_")] = _message(report)
        if report.when == "call":
            self.ran[cheat] = self.ran.get(cheat, 0) + 1


def _message(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr)[:600]


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """What the kit finds in all cheats, in one run."""
    folder = tmp_path_factory.mktemp("cheats")
    (folder / "test_kit.py").write_text(KIT)
    (folder / "pytest.ini").write_text("[pytest]\n")
    found = Findings()
    options = ["-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--rootdir", str(folder)]
    options += ["-c", str(folder / "pytest.ini"), "--basetemp", str(folder / "tmp"), "-W", "error"]
    code = pytest.main([*options, str(folder / "test_kit.py")], plugins=[found])
    assert code == pytest.ExitCode.TESTS_FAILED
    return found


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_cheat_is_found_out(cheat, findings: Findings) -> None:
    failed = findings.failed.get(f"Test{cheat.name}", {})
    assert set(failed) == cheat.caught, "\n\n".join(f"{case}: {text}" for case, text in failed.items())
    assert findings.ran[f"Test{cheat.name}"] > 40
