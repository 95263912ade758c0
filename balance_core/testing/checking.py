"""Runs the kit over an installed plugin and tells, promise by promise, what was kept.

A plugin whose cases need more than its name (settings that make it cheap, examples of a format, stored proofs) brings
its conformance class along: entry point group `balance.conformance`, named `<kind>.<name>`.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from balance_core import registry
from balance_core.contracts import SupportsClaims
from balance_core.errors import ConfigError, PluginError, ToolNotFound

if TYPE_CHECKING:
    import pytest

GROUP = "balance.conformance"
"""The entry point group of conformance classes."""
_BASES = {
    "backends": ("BackendConformance", "backend"),
    "chains": ("ChainConformance", "chain"),
    "executors": ("ExecutorConformance", "executor"),
    "storage": ("StorageConformance", "storage"),
}
"""The kinds whose cases need no more than a name."""
_CLASS = "TestPlugin"


def check(kind: str, name: str) -> int:
    """Try a plugin in a process of its own, and print a line for each promise.

    Returns 0 if all were kept, the exit code of PluginError otherwise. Raises PluginError for a plugin that does not
    load, ConfigError for one that the kit knows too little of, ToolNotFound without pytest.
    """
    registry.load(kind, name)
    source = _module(kind, name)
    if importlib.util.find_spec("pytest") is None:
        raise ToolNotFound("the conformance kit runs in pytest", hint="pip install 'balance-core[testing]'")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test_plugin.py"
        path.write_text(source)
        (Path(folder) / "pytest.ini").write_text("[pytest]\n")
        code = subprocess.run([sys.executable, "-P", "-m", __name__, str(path)], check=False).returncode
    return 0 if code == 0 else PluginError.exit_code


def _module(kind: str, name: str) -> str:
    """Return a test module for the plugin: its own class, or the contract's base class with its name."""
    point = next((point for point in metadata.entry_points(group=GROUP) if point.name == f"{kind}.{name}"), None)
    if point is not None:
        module, _, attribute = point.value.partition(":")
        return f"from {module} import {attribute} as {_CLASS}\n"
    if kind == "verifiers" and name in registry.names("backends"):
        kind = "backends"
    if kind not in _BASES:
        needs = "proofs that were stored" if kind == "verifiers" else "examples of its format"
        raise ConfigError(
            f"the kit needs to know more of {kind} {name!r} than its name: {needs}",
            hint=f"its author brings a conformance class as entry point {kind}.{name} of {GROUP}",
        )
    base, attribute = _BASES[kind]
    if kind == "chains" and issubclass(registry.load(kind, name), SupportsClaims):
        base = "ClaimsConformance"
    return (
        f"from balance_core.testing import {base}\n\n\nclass {_CLASS}({base}):\n"
        f'    """The plugin."""\n\n    {attribute} = {name!r}\n'
    )


class Report:
    """Prints a line for each promise as soon as it is tried, and the reasons for each that was broken."""

    def __init__(self) -> None:
        self._promises: dict[str, str] = {}
        self._reasons: list[list[str]] = []
        self._broken = 0
        self._kept = 0
        self._exempt = 0

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note what each case promises."""
        for item in items:
            text = getattr(getattr(item, "function", None), "__doc__", None) or item.name
            parameters = f" {item.name[item.name.index('[') :]}" if "[" in item.name else ""
            self._promises[item.nodeid] = text.strip().splitlines()[0] + parameters

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Tell why cases could not even be found."""
        if report.failed:
            self._broken += 1
            _say(f"BROKEN  {report.longrepr}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell how a case went."""
        promise = self._promises.get(report.nodeid, report.nodeid)
        if report.failed:
            self._broken += 1
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = str(crash.message if crash else report.longrepr).strip()
            lines = (
                [*reason.splitlines()[:12], f"{crash.path}:{crash.lineno}"] if crash else reason.splitlines()[-12:]
            )
            if lines in self._reasons:
                lines = [f"for the same reason as above: {lines[0]}"]
            else:
                self._reasons.append(lines)
            _say(f"BROKEN  {promise}\n        " + "\n        ".join(lines))
        elif report.skipped:
            self._exempt += 1
            why = getattr(report, "wasxfail", "") or "skipped"
            _say(f"exempt  {promise} ({why})")
        elif report.when == "call":
            self._kept += 1
            _say(f"ok      {promise}")

    def pytest_sessionfinish(self) -> None:
        """Tell how many were kept."""
        exempt = f", {self._exempt} exempt" if self._exempt else ""
        _say(f"{self._kept} promises kept, {self._broken} broken{exempt}")


def _say(text: str) -> None:
    sys.__stdout__.write(f"{text}\n")  # type: ignore[union-attr]  # the process was started with one
    sys.__stdout__.flush()  # type: ignore[union-attr]


def _main(path: str) -> int:
    """Run a test module under the report, and under no configuration of the folder it was started from."""
    import pytest

    folder = Path(path).parent
    options = ["-p", "no:terminal", "-p", "no:cacheprovider", "-c", str(folder / "pytest.ini"), "--capture=sys"]
    return int(pytest.main([*options, "--rootdir", str(folder), path], plugins=[Report()]))


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
