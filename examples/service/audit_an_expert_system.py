"""A set of rules, as a clinic's hotline might use it, is audited as a network would be.

The rules decide who should see a doctor. The provider serves them like any model; the consumer has thirty past cases,
with what a physician decided in each. The audit shows, by proofs of the answers, how often the rules decide as she
did; the proofs also hold which rule fired, so that every decision can be explained.

    python examples/service/audit_an_expert_system.py [BACKEND]
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from balance_core.service import AuditTerms, Client, Provider, listening
from balance_core.service.audit.metrics import Metric

HOME, DOCTOR = 0, 1
RULES = Path(__file__).parent / "fever.yaml"


def cases() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return thirty cases (temperature in tenths of a degree) and what the physician decided."""
    chance = np.random.default_rng(1)
    temperature, cough = chance.integers(360, 400, 30), chance.integers(0, 2, 30)
    decided = np.where((temperature >= 378) | ((cough == 1) & (temperature > 375)), DOCTOR, HOME)
    return {"temperature": temperature, "cough": cough}, decided


def main(backend: str) -> None:
    """Serve the rules, audit them, and show the first decisions."""
    inputs, decided = cases()
    print(f"A provider serves the rules of {RULES.name}, proven by {backend}.")
    with (
        Provider(RULES, samples=inputs, backend=backend) as provider,
        listening(provider) as url,
        Client(url) as client,
    ):
        metric = Metric(name="equal", output="decision")
        print(f"A consumer audits it with {len(decided)} cases, and has all answers proven.")
        file = client.audit(inputs, decided, AuditTerms(metric=metric))

    report = file.report
    print(f"  {report.proven} of {report.samples} decisions are proven to be those of the registered rules")
    print(f"  {report.proven_right} of them are the physician's")
    print(f"  proofs worth something to others: {'yes' if report.sound else 'no, the backend is not sound'}")
    for number, answer in enumerate(file.evidence.receipts[:3]):
        said = {tensor.name: tensor.integers for tensor in answer.receipt.outputs}
        fired = ["HOT"] if said["fired"][0] else ["no rule"]
        print(f"  case {number}: {('home', 'doctor')[said['decision'][0]]}, because of {', '.join(fired)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["BALANCE_HOME"] = home
        main(sys.argv[1] if len(sys.argv) > 1 else "zkml_halo2")
