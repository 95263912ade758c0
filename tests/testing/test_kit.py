"""The kit itself: what it tries is worth trying, and what it promises about skips and exemptions holds."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from balance_core.chain import Standing
from balance_core.chain_state import Event, State, Verdict, reduce
from balance_core.errors import Rejected
from balance_core.testing import attacks, chain
from balance_core.testing.town import PEOPLE, Town, guess

pytest_plugins = ["pytester"]


def test_random_course_leads_everywhere():
    keys = {who: letter * 64 for who, letter in zip(PEOPLE, "abc", strict=True)}
    town = SimpleNamespace(keys=keys)
    for name in ("registration", "next_version", "proof", "attestation"):
        setattr(town, name, getattr(Town, name).__get__(town))
    random = np.random.default_rng(chain.COURSE)
    state = State()
    refused = 0
    for _ in range(chain.COURSE_EVENTS):
        who = str(random.choice(PEOPLE))
        try:
            state = reduce(state, Event(guess(town, state, random), keys[who]))
        except Rejected:
            refused += 1
    assert {found.standing for found in state.registrations.values()} == set(Standing)
    assert Verdict.EQUIVOCATED in {word for proof in state.proofs.values() for word in proof.verdicts.values()}
    assert refused > 30


@pytest.mark.parametrize("size", [1, 2, 499, 500, 501, 5000])
def test_flips_change_one_byte_each_and_reach_the_ends(size):
    data = np.random.default_rng(1).bytes(size)
    places = set()
    for _, altered in attacks.flips(data, count=500):
        assert len(altered) == size
        (place,) = [at for at in range(size) if altered[at] != data[at]]
        places.add(place)
    assert len(places) == min(size, 500)
    assert {0, size - 1} <= places


def test_no_attack_is_the_proof_itself():
    for data in (b'{"a":[1,2,{"b":"00ff"}],"c":-5}', bytes(range(200))):
        for family in (attacks.lengths, attacks.oversized, attacks.garbage, attacks.structures, attacks.recounted):
            assert not [name for name, altered in family(data) if altered == data and len(data) > 1]


def test_core_starts_without_pytest():
    code = "import sys, balance_core.testing; assert 'pytest' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


MISSING = """
import pytest
from balance_core.testing import StorageConformance

class TestMissing(StorageConformance):
    storage = "nowhere"

@pytest.mark.plugin("elsewhere")
def test_marked():
    pytest.skip("no such tool")

def test_other():
    pytest.skip("not today")
"""


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest", *options)


def test_missing_plugin_is_skipped(pytester, monkeypatch):
    monkeypatch.delenv("BALANCE_REQUIRE", raising=False)
    pytester.makepyfile(MISSING)
    outcome = run(pytester).parseoutcomes()
    assert outcome["skipped"] > 10
    assert set(outcome) == {"skipped"}


def test_required_plugin_is_not_skipped(pytester, monkeypatch):
    monkeypatch.setenv("BALANCE_REQUIRE", "nowhere, elsewhere")
    pytester.makepyfile(MISSING)
    result = run(pytester)
    outcome = result.parseoutcomes()
    assert outcome["skipped"] == 1
    assert outcome.get("failed", 0) + outcome.get("errors", 0) > 10
    result.stdout.fnmatch_lines(["*BALANCE_REQUIRE forbids to skip the tests of nowhere*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_required_plugin_is_not_skipped_by_a_missing_import(pytester, monkeypatch):
    monkeypatch.setenv("BALANCE_REQUIRE", "no_such_tool")
    pytester.makepyfile("import pytest\npytest.importorskip('no_such_tool')\ndef test_it(): pass")
    result = run(pytester)
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*BALANCE_REQUIRE forbids to skip the tests of no_such_tool*"])


EXEMPT = """
import pytest
from balance_core.testing.form import PluginConformance
from balance_core.contracts import Storage
from balance_core.settings import Settings

class Vague(Settings):
    level: int = {setting}

class Mine(Storage):
    "A store of nothing at all."
    api_version = 1
    settings_class = Vague
    put = open = has = pin = unpin = lambda self: None

class TestMine(PluginConformance):
    kind, attribute, mine = "storage", "mine", Mine
    exempt = {{{exempt}}}
"""
UNDESCRIBED = "1"
DESCRIBED = "__import__('pydantic').Field(1, description='how much')"


@pytest.mark.parametrize("marker", ["notimpl", "notyet", "never"])
def test_exempt_case_may_fail(pytester, marker):
    exempt = f"'test_settings_are_described': pytest.mark.{marker}(raises=AssertionError, reason='later')"
    pytester.makepyfile(EXEMPT.format(setting=UNDESCRIBED, exempt=exempt))
    run(pytester).assert_outcomes(passed=7, xfailed=1)


def test_exempt_case_must_not_pass(pytester):
    exempt = "'test_settings_are_described': pytest.mark.notyet(raises=AssertionError, reason='later')"
    pytester.makepyfile(EXEMPT.format(setting=DESCRIBED, exempt=exempt))
    run(pytester).assert_outcomes(passed=7, failed=1)


def test_exempt_case_must_fail_as_it_says(pytester):
    exempt = "'test_settings_are_described': pytest.mark.notyet(raises=KeyError, reason='later')"
    pytester.makepyfile(EXEMPT.format(setting=UNDESCRIBED, exempt=exempt))
    run(pytester).assert_outcomes(passed=7, failed=1)


@pytest.mark.parametrize(
    "exempt",
    [
        "'test_settings_are_described': pytest.mark.notyet(reason='later')",
        "'test_settings_are_described': pytest.mark.notyet(raises=AssertionError)",
        "'test_no_such_case': pytest.mark.notyet(raises=AssertionError, reason='later')",
    ],
)
def test_exemption_without_its_words_is_an_error(pytester, exempt):
    pytester.makepyfile(EXEMPT.format(setting=UNDESCRIBED, exempt=exempt))
    assert run(pytester).ret == pytest.ExitCode.USAGE_ERROR
