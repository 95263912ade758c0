"""What the tests share: where files are, and the mark of tests that run the native halves."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from balance_core.cli import invoke

ROOT = Path(__file__).resolve().parents[3]
ENGINE = ROOT / "tests" / "data" / "zkml"
"""Models of the zkml project's format, with the integers that its own engine gives."""
UPSTREAM = ROOT.parent / "shared" / "fixtures" / "zkml_mnist"
"""Files of the zkml project itself, which are not ours to copy."""
MODELS = ROOT.parent / "shared" / "models"
"""Trained models with their samples, where they stand beside this clone."""
CEREMONY = ROOT / "plugins/zkml_halo2/native/srs/tests/fixtures/powersOfTau28_hez_final_08.ptau"

PROVIDER = bytes(range(32))
"""The key that commitments are made for; nothing is signed with it."""

installed = all(importlib.util.find_spec(name) for name in ("balance_zkml_prover", "balance_zkml_verifier"))
native = pytest.mark.skipif(not installed, reason="the native halves of balance-zkml are not built")


def run(*arguments: object) -> int:
    """Run one command line and return its exit code."""
    return invoke([str(argument) for argument in arguments])


def lists(ports, batch, sample):
    """Return one sample of each input as a flat list, in the model's order."""
    return [batch[op.label][sample].reshape(-1).tolist() for _, op in ports]
