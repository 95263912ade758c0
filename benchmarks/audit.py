"""An audit with all answers proven, end to end over HTTP, beside the backend's own pace for the same proofs.

The pace is one prove stage that proves all requests one after another, and nothing else: no server, no receipts, no
publishing, and no checking but what the backend's own `prove` does. The audit does all of it: receipts, draw, proofs,
each proof checked by the provider before it is published (no contract says that `prove` has done that) and once by
the consumer, storage, ledger and report. Both are in one run on one machine, provider and consumer sharing its
processors. The ratio of wall times is what is held to a bar; that of processor seconds says what all the rest costs,
also where the machine had time for it.

    python benchmarks/audit.py [--backend zkml_halo2] [--samples 100] [--turns 3]
                               [--model mnist.onnx --input test.npz]

Both are timed in turn, because machines drift; the median of the turns counts.
"""

from __future__ import annotations

import argparse
import base64
import os
import resource
import secrets
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

ALLOWED = 1.2
"""How many times the backend's own pace an audit may take."""


def main() -> None:
    """Measure, and print both with their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="zkml_halo2")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--input", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("BALANCE_HOME", folder)
        _measure(given)


def _measure(given: argparse.Namespace) -> None:
    from balance_core.provider import EXAMPLE
    from balance_core.service import Client, Provider, listening
    from balance_core.service.audit.samples import read_test_set

    model = given.model or EXAMPLE / "mnist_mlp.onnx"
    test_set = given.input or EXAMPLE / "digits.npz"
    provider = Provider(model, samples=test_set, backend=given.backend)
    provider.register()
    inputs = [{provider.summary.inputs[0].name: one} for one in _samples(provider, test_set, given.samples)]
    ratios = []
    with provider, listening(provider) as url, Client(url, storage="local") as client:
        client.pin()
        batch, labels = read_test_set(test_set, client.consumer.inputs)
        batch = {name: array[: given.samples] for name, array in batch.items()}
        files: list[Any] = []

        def audit() -> None:
            files.append(client.audit(batch, labels[: given.samples]))

        for _ in range(given.turns):
            pace = _timed("backend alone", lambda: _prove(provider, inputs), given.samples)
            took = _timed("audit", audit, given.samples)
            ratios.append((took[0] / pace[0], took[1] / pace[1]))
    for report in (file.report for file in files):
        print(f"proven {report.proven} of {report.drawn}, right {report.proven_right}")
    wall, processor = (median(each) for each in zip(*ratios, strict=True))
    print(f"audit / backend alone: {wall:.2f}, median of turns (at most {ALLOWED}); CPU {processor:.2f}")


def _samples(provider: Any, test_set: Path, count: int) -> np.ndarray:
    from balance_core.model.inputs import as_batch, read_inputs

    specs = provider.summary.inputs
    found: np.ndarray = as_batch(read_inputs(test_set, specs), specs)[specs[0].name][:count]
    return found


def _prove(provider: Any, inputs: list[dict[str, np.ndarray]]) -> None:
    """Prove all requests in one process, as the provider's workers do."""
    from balance_core import arrays, registry
    from balance_core.stages import Task

    preparation = provider.register().preparation
    blobs = {"circuit": preparation.circuit}
    if preparation.opening is not None:
        blobs["opening"] = preparation.opening
    requests = [
        {"inputs": base64.b64encode(arrays.pack(one)).decode(), "context": secrets.token_hex(32)} for one in inputs
    ]
    executor = registry.create("executors", "local")
    task = Task(
        stage="prove",
        plugin=preparation.backend,
        settings=preparation.settings,
        arguments={"requests": requests},
        blobs=blobs,
    )
    try:
        executor.submit(task).result()
    finally:
        executor.close()


def _timed(what: str, call: Callable[[], None], samples: int) -> tuple[float, float]:
    """Return seconds and processor seconds of a call, those of this process (server, client) and of its workers."""
    started, before = time.perf_counter(), _spent()
    call()
    wall = time.perf_counter() - started
    own, others = (after - then for after, then in zip(_spent(), before, strict=True))
    print(
        f"{what:<14} {wall:7.1f} s, {wall / samples:.3f} s a sample; CPU {own:.1f} s here, {others:.1f} s in workers"
    )
    return wall, own + others


def _spent() -> tuple[float, float]:
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime, others.ru_utime + others.ru_stime


if __name__ == "__main__":
    main()
