"""The pytest plugin of the conformance kit: skips that count as failures, and exemptions that shout when outgrown.

`BALANCE_REQUIRE=ezkl,mine` names plugins whose tests must run: a skip of one of their tests is then a failure. A test
belongs to a plugin if its class is a conformance class for it, if it carries `@pytest.mark.plugin("mine")`, or if the
reason for skipping names the plugin.

The markers `notimpl` (not done yet), `notyet` (the proof system cannot do it yet) and `never` (it cannot be done)
exempt a case. Each is a strict expected failure: it needs `raises=` and `reason=`, and fails once the case passes.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

REQUIRE_VARIABLE = "BALANCE_REQUIRE"
"""The environment variable that names the plugins whose tests must not be skipped, separated by commas."""

_EXEMPTIONS = {
    "never": "it cannot be done",
    "notimpl": "the plugin does not do it yet",
    "notyet": "what the plugin builds on does not do it yet",
}
_MODULES = (
    "backend",
    "capabilities",
    "chain",
    "claims",
    "converter",
    "edits",
    "executor",
    "form",
    "storage",
    "subject",
    "town",
    "verifier",
)

pytest.register_assert_rewrite(*(f"balance_core.testing.{name}" for name in _MODULES))


def required() -> frozenset[str]:
    """Return the names of the plugins whose tests must not be skipped."""
    return frozenset(filter(None, re.split(r"[,\s]+", os.environ.get(REQUIRE_VARIABLE, ""))))


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    config.addinivalue_line("markers", "plugin(name): a test of this plugin, which BALANCE_REQUIRE forbids to skip")
    for name, meaning in _EXEMPTIONS.items():
        config.addinivalue_line("markers", f"{name}(raises, reason): {meaning}; a strict expected failure")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Turn exemptions, on the test or in its class's `exempt` table, into strict expected failures."""
    _check_tables(items)
    for item in items:
        for marker in _exemptions(item):
            missing = {"raises", "reason"} - set(marker.kwargs)
            if marker.args or missing:
                raise pytest.UsageError(
                    f"{item.nodeid}: marker {marker.name} needs raises= and reason= and nothing else"
                )
            reason = f"{marker.name}: {marker.kwargs['reason']}"
            item.add_marker(pytest.mark.xfail(strict=True, raises=marker.kwargs["raises"], reason=reason))


def _exemptions(item: pytest.Item) -> Iterable[pytest.Mark]:
    for name in _EXEMPTIONS:
        yield from item.iter_markers(name)
    table = getattr(getattr(item, "cls", None), "exempt", {})
    decorator = table.get(getattr(item, "originalname", None))
    if decorator is not None:
        yield decorator.mark


def _check_tables(items: list[pytest.Item]) -> None:
    """Refuse an exemption for a case that does not exist: it would outlive what it was made for."""
    for kind in {item.cls for item in items if isinstance(item, pytest.Function) and item.cls is not None}:
        unknown = [name for name in getattr(kind, "exempt", {}) if not hasattr(kind, name)]
        if unknown:
            raise pytest.UsageError(f"{kind.__qualname__}.exempt names no case of the kit: {', '.join(unknown)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report the skip of a required plugin's test as a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _refuse_skip(report, _owners(item))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Report the skip of a required plugin's whole module as a failure."""
    report = yield
    if report.skipped:
        _refuse_skip(report, {marker.args[0] for marker in collector.iter_markers("plugin") if marker.args})
    return report


def _owners(item: pytest.Item) -> set[str]:
    """Return the names of the plugins that a test belongs to."""
    owners = {str(marker.args[0]) for marker in item.iter_markers("plugin") if marker.args}
    name = getattr(getattr(item, "cls", None), "plugin_name", None)
    return owners | ({name()} if callable(name) else set())


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport, owners: set[str]) -> None:
    names = required()
    reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
    hit = sorted(
        (names & owners) | {name for name in names if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", reason)}
    )
    if hit:
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE_VARIABLE} forbids to skip the tests of {', '.join(hit)}: {reason}"
