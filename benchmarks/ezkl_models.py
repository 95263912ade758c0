"""Real models through the whole pipeline with ezkl: settings chosen on half of the samples, counted on the rest.

Prints for each how often proven answers decide otherwise than the float model (bar: one in 100 held samples),
what `check` predicted, and what each stage took. The large models need minutes and up to 12 GiB each.

    python benchmarks/ezkl_models.py [folder of NAME.onnx with NAME.npz] [NAME ...]
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import balance_core as balance

SHARED = Path(__file__).resolve().parents[2] / "shared" / "models"
NAMES = ("iris_tree", "cancer_logreg", "mnist_mlp", "mnist_cnn", "lenet5", "mnist_transformer")
ALLOWED = 0.01


def measure(model: Path, folder: Path) -> bool:
    """Run one model and print what came of it; returns whether it is within the bar."""
    samples = np.load(model.with_suffix(".npz"))["x"]
    half = len(samples) // 2
    known, held = folder / "known.npy", folder / "held.npy"
    np.save(known, samples[:half])
    np.save(held, samples[half:])
    predicted = balance.check(model, samples=known, backend="ezkl").estimate
    run = balance.run(model, held, samples=known, backend="ezkl")
    fidelity, facts = run.receipt.fidelity, run.receipt.facts
    print(f"{model.stem}: k={facts['k']}, {facts['rows']} rows, {run.receipt.total_seconds:.1f} s in all")
    print(f"  {fidelity.disagreements} of {fidelity.samples} held samples decided otherwise, "
          f"largest error {fidelity.largest_error:.3g}")  # fmt: skip
    print(f"  predicted: setup {predicted.setup_seconds:.1f} s, prove {predicted.prove_seconds:.1f} s, "
          f"{(predicted.memory_bytes or 0) / 2**30:.2f} GiB")  # fmt: skip
    for stage in run.receipt.stages:
        cost = stage.measurement
        print(f"  {stage.stage:<8} {cost.wall_seconds:8.2f} s {cost.cpu_seconds:8.2f} CPU s "
              f"{cost.peak_memory_bytes / 2**30:6.2f} GiB", flush=True)  # fmt: skip
    return (fidelity.disagreements or 0) <= ALLOWED * max(fidelity.samples, 100)


def main() -> None:
    """Run the models and exit with 1 past the bar."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED
    if not folder.is_dir():
        print(f"skipped: there is no folder of models at {folder}")
        return
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["BALANCE_HOME"] = str(Path(scratch, "home"))
        within = [measure(folder / f"{name}.onnx", Path(scratch)) for name in sys.argv[2:] or NAMES]
    sys.exit(not all(within))


if __name__ == "__main__":
    main()
