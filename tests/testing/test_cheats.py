"""Every cheat is found out, in exactly the cases that are meant for it."""

from __future__ import annotations

import cheating_backends
import cheating_chains
import cheating_others
import cheating_storage
import claiming_chains
import pytest
from kit_run import Findings, run_kit

BACKENDS = """
import pytest

from balance_core.testing import BackendConformance
from cheating_backends import CHEATS

FRESH = {"test_fresh_process_proves", "test_fresh_process_reaches_the_same_verdict"}
SHARED = {}


class Quick(BackendConformance):
    sampled_bytes = 80

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


OTHERS = """
from balance_core.testing import {base}
from {module} import CHEATS

for cheat, _ in CHEATS:
    globals()[f"Test{{cheat.__name__}}"] = type(f"Test{{cheat.__name__}}", ({base},), {{"{attribute}": cheat}})
"""


CLAIMS = """
from balance_core.testing import ClaimsConformance
from balance_core.testing.chain import ChainConformance
from claiming_chains import CHEATS, WINDOW, HonestClaims, pass_time

OTHERS = {name: None for name in dir(ChainConformance) if name.startswith("test_")}

for cheat in (HonestClaims, *(cheat for cheat, _ in CHEATS)):
    members = {"chain": cheat, "window": WINDOW, "pass_time": staticmethod(pass_time)}
    others = {} if cheat is HonestClaims else OTHERS
    globals()[f"Test{cheat.__name__}"] = type(f"Test{cheat.__name__}", (ClaimsConformance,), members | others)
"""
"""The cases that all chains share are tried on the honest one only."""
CONVERTERS = """
from balance_core.testing import ConverterConformance
from cheating_others import CONVERTERS

for cheat, _ in CONVERTERS:
    members = {"converter": cheat, "examples": lambda self: {"a.scale": b"scale 3", "b.scale": b"scale 12\\n"}}
    globals()[f"Test{cheat.__name__}"] = type(f"Test{cheat.__name__}", (ConverterConformance,), members)
"""
EXECUTORS = """
from balance_core.testing import ExecutorConformance
from cheating_others import EXECUTORS

CASES = {name for name in dir(ExecutorConformance) if name.startswith("test_")}

for cheat, caught in EXECUTORS:
    kept = {"test_result_comes_back", "test_log_is_kept", *(f"test_{name}" for name in caught)}
    members = {"executor": cheat, "patience": 3.0, **dict.fromkeys(CASES - kept)}
    globals()[f"Test{cheat.__name__}"] = type(f"Test{cheat.__name__}", (ExecutorConformance,), members)
"""
"""The case that each is meant for, and two that it must pass: every case starts processes."""


def by_name(cheats):
    return [pytest.param(*found, id=found[0].__name__) for found in cheats]


@pytest.fixture(scope="module")
def findings() -> Findings:
    """What the kit finds in all backends and verifiers that cheat."""
    return run_kit(BACKENDS)


@pytest.fixture(scope="module")
def storage_findings() -> Findings:
    """What the kit finds in all stores that cheat."""
    source = OTHERS.format(base="StorageConformance", module="cheating_storage", attribute="storage")
    return run_kit(source)


@pytest.fixture(scope="module")
def chain_findings() -> Findings:
    """What the kit finds in all chains that cheat."""
    source = OTHERS.format(base="ChainConformance", module="cheating_chains", attribute="chain")
    return run_kit(source)


@pytest.fixture(scope="module")
def claim_findings() -> Findings:
    """What the kit finds in all chains that cheat with claims."""
    return run_kit(CLAIMS)


@pytest.fixture(scope="module")
def converter_findings() -> Findings:
    """What the kit finds in all converters that cheat."""
    return run_kit(CONVERTERS)


@pytest.fixture(scope="module")
def executor_findings() -> Findings:
    """What the kit finds in all executors that cheat."""
    return run_kit(EXECUTORS)


def check(name: str, caught: frozenset[str], findings: Findings, *, at_least: int) -> None:
    failed = findings.failed.get(f"Test{name}", {})
    assert set(failed) == caught, "\n\n".join(f"{case}: {text}" for case, text in failed.items())
    assert findings.ran[f"Test{name}"] >= at_least


@pytest.mark.parametrize("cheat", cheating_backends.CHEATS, ids=lambda cheat: cheat.name)
def test_cheating_backend_is_found_out(cheat, findings: Findings) -> None:
    check(cheat.name, cheat.caught, findings, at_least=40)


@pytest.mark.parametrize(("cheat", "caught"), by_name(cheating_storage.CHEATS))
def test_cheating_storage_is_found_out(cheat, caught, storage_findings: Findings) -> None:
    check(cheat.__name__, caught, storage_findings, at_least=30)


@pytest.mark.parametrize(("cheat", "caught"), by_name(cheating_chains.CHEATS))
def test_cheating_chain_is_found_out(cheat, caught, chain_findings: Findings) -> None:
    check(cheat.__name__, caught, chain_findings, at_least=25)


@pytest.mark.parametrize(("cheat", "caught"), by_name(claiming_chains.CHEATS))
def test_chain_that_cheats_with_claims_is_found_out(cheat, caught, claim_findings: Findings) -> None:
    check(cheat.__name__, caught, claim_findings, at_least=9)


def test_chain_that_is_honest_about_claims_is_not_suspected(claim_findings: Findings) -> None:
    check("HonestClaims", frozenset(), claim_findings, at_least=35)


@pytest.mark.parametrize(("cheat", "caught"), by_name(cheating_others.CONVERTERS))
def test_cheating_converter_is_found_out(cheat, caught, converter_findings: Findings) -> None:
    check(cheat.__name__, caught, converter_findings, at_least=14)


@pytest.mark.parametrize(("cheat", "caught"), by_name(cheating_others.EXECUTORS))
def test_cheating_executor_is_found_out(cheat, caught, executor_findings: Findings) -> None:
    check(cheat.__name__, caught, executor_findings, at_least=3)
