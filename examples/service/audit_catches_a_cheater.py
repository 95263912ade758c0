"""An audit catches a provider that saves itself some of the work.

The provider is registered with one model. For about one request in five it does not run it, but gives the answer of
the request before once more; its receipts are signed and look like any others. A consumer sends a test set, and has a
part of the answers proven, drawn by lot after all of them were signed. The lazy answers among those cannot be proven:
the registered model does not give them. A provider that does not prove what it signed counts as caught.

    python examples/service/audit_catches_a_cheater.py [BACKEND]
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from dataclasses import replace

import numpy as np

from balance_core.provider import EXAMPLE
from balance_core.service import AuditTerms, Client, Provider, listening
from balance_core.service.audit.check import check_file
from balance_core.service.client.checking import Checker

SAMPLES, DRAWN, LAZY = 40, 20, 0.2


class Lazy:
    """What answers the requests of a cheater: the model, or the answer before once more."""

    def __init__(self, honest: object) -> None:
        self.honest, self.before, self.chance, self.cheated = honest, None, random.Random(7), 0  # noqa: S311 - a cheater's lot

    def answer(self, inputs: object) -> object:
        """Answer, or seem to."""
        answered = self.honest.answer(inputs)
        if self.before is not None and self.chance.random() < LAZY:
            self.cheated += 1
            answered = replace(answered, outputs=self.before)
        self.before = answered.outputs
        return answered


def main(backend: str) -> None:
    """Serve lazily, audit, and let somebody else check the audit."""
    digits = np.load(EXAMPLE / "digits.npz")
    images, labels = digits["x"][:SAMPLES], digits["y"][:SAMPLES]

    with (
        Provider(EXAMPLE / "mnist_mlp.onnx", samples=images, backend=backend) as provider,
        listening(provider) as url,
    ):
        running = provider._running  # noqa: SLF001 - a cheater reaches into its own program
        running.answerers = lazy = Lazy(running.answerers)
        print(f"A provider answers by {backend}, and is lazy in about {LAZY:.0%} of the cases.")

        with Client(url) as client:
            print(f"A consumer has {SAMPLES} samples answered, and then {DRAWN} answers proven, drawn by lot.")
            file = client.audit(images, labels, AuditTerms(drawn=DRAWN))
        running.answerers = lazy.honest

    report = file.report
    print(f"  the provider was lazy {lazy.cheated} times; {report.proven} of {report.drawn} drawn answers are proven")
    for odds in report.odds:
        if odds.fraction in {0.02, 0.1, 0.2}:
            print(
                f"  whoever cheats in {odds.fraction:.0%} of the cases is caught with probability {odds.caught:.4f}"
            )
    if report.caught:
        print(f"It is caught: it cannot prove what it signed for the samples {list(report.unproven)}.")
    else:
        print("It got away with it this time.")

    print("Somebody else checks the audit's file, and finds the same:")
    checker = Checker(None)
    try:
        again = check_file(file, checker.by_sample)
    finally:
        checker.close()
    print(f"  caught: {again.caught}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["BALANCE_HOME"] = home
        main(sys.argv[1] if len(sys.argv) > 1 else "zkml_halo2")
