"""Time of the integer executor against onnxruntime's float time, on the same models in one run, interleaved.

    python benchmarks/integer.py MODELS [--rounds 15]

MODELS is a folder of .onnx files, each with a .npz of the same name whose array `x` holds samples. Every round times
both, on one thread, on the whole second half of the samples: the executor as one batch, onnxruntime sample by sample,
for the models have a fixed batch of one. The ratio is that of the medians; `single` is the ratio when the executor
takes one sample at a time, too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # one thread for both; read when numpy is imported

import numpy as np
import onnxruntime

from balance_core.integer import calibrate, execute
from balance_core.model.inputs import as_batch
from balance_core.model.load import load

if TYPE_CHECKING:
    from collections.abc import Callable

BAR = 15.0
"""Largest ratio of executor time to onnxruntime time that issue 4 allows."""


def timed(action: Callable[[], Any]) -> float:
    """Return the wall seconds that an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure(path: Path, rounds: int) -> dict[str, Any]:
    """Time one model; all samples are kept."""
    model = load(path)
    with np.load(path.with_suffix(".npz")) as arrays:
        batch = as_batch({model.inputs[0].name: arrays["x"]}, model.inputs)
    half = len(next(iter(batch.values()))) // 2
    calibration = calibrate(model.proto(), {name: array[:half] for name, array in batch.items()})
    test = {name: array[half:] for name, array in batch.items()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.proto().SerializeToString(), options, ["CPUExecutionProvider"])
    count = len(next(iter(test.values())))
    samples = [{name: array[i] for name, array in test.items()} for i in range(count)]
    singles = [{name: array[i : i + 1] for name, array in test.items()} for i in range(count)]

    def floats() -> None:
        for sample in samples:
            session.run(None, sample)

    def one_by_one() -> None:
        for single in singles:
            execute(calibration.model, single)

    times: dict[str, list[float]] = {"integer": [], "float": [], "integer_single": []}
    execute(calibration.model, test)
    floats()
    for _ in range(rounds):
        times["integer"].append(timed(lambda: execute(calibration.model, test)))
        times["float"].append(timed(floats))
        times["integer_single"].append(timed(one_by_one))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "model": path.stem,
        "samples": count,
        "bits": calibration.report.chosen.bits,
        "nodes": len(calibration.model.nodes),
        "seconds": times,
        "float_us": 1e6 * medians["float"] / count,
        "integer_us": 1e6 * medians["integer"] / count,
        "ratio": medians["integer"] / medians["float"],
        "single": medians["integer_single"] / medians["float"],
    }


def main() -> int:
    """Print one line for each model, and JSON with all samples on request; 1 when a ratio exceeds the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = [measure(path, arguments.rounds) for path in sorted(arguments.models.glob("*.onnx"))]
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        print(f"{'model':20} {'bits':>4} {'nodes':>5} {'float us':>9} {'integer us':>10} {'ratio':>6} {'single':>7}")
        for r in results:
            print(f"{r['model']:20} {r['bits']:4} {r['nodes']:5} {r['float_us']:9.1f} {r['integer_us']:10.1f} "
                  f"{r['ratio']:6.1f} {r['single']:7.1f}")  # fmt: skip
    return int(any(r["ratio"] > BAR for r in results))


if __name__ == "__main__":
    sys.exit(main())
