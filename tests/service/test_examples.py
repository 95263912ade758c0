"""The examples run as they stand, and end as their stories say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from balance_core import registry

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "service"
ENDINGS = {
    "provider_and_consumer": ["receipt", "the proof shows"],
    "audit_catches_a_cheater": ["It is caught", "caught: True"],
    "three_validators": [
        "the right proof: {'liar': 'invalid', 'quick': 'valid', 'slow': 'valid'}",
        "for who trusts the honest two: attested",
        "has seen 2 false words",
    ],
    "audit_an_expert_system": ["30 of 30 decisions are proven", "because of HOT"],
}

pytestmark = pytest.mark.slow


def run(name, backend):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), backend],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "BALANCE_HOME"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_example_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(ENDINGS)


@pytest.mark.parametrize("name", ENDINGS)
def test_an_example_ends_as_its_story_says(name):
    told = run(name, "integer")
    for words in ENDINGS[name]:
        assert words in told


@pytest.mark.plugin("zkml_halo2")
@pytest.mark.parametrize("name", ["provider_and_consumer", "three_validators"])
def test_an_example_with_real_proofs_ends_as_its_story_says(name):
    if "zkml_halo2" not in registry.names("backends"):
        pytest.skip("zkml_halo2 is not installed")
    told = run(name, "zkml_halo2")
    for words in ENDINGS[name]:
        assert words in told
