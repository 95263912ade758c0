"""Estimates after a calibration: how far they are from what models cost that the calibration has not seen.

Bar: a median error of 30 % over all backends, models and figures. Seconds are the processor's, so that a busy machine
can be judged too; `--wall` counts wall time, which holds on an idle one.

    python benchmarks/calibration.py [--wall] [BACKEND ...]
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from balance_core import registry
from balance_core.compare import calibration, trial
from balance_core.provider import EXAMPLE
from balance_core.workspace import Workspace

SHARED = Path(__file__).resolve().parents[2] / "shared" / "models"
NAMES = ("iris_tree", "cancer_logreg", "mnist_cnn", "lenet5")
HEAVY = {("ezkl", "lenet5")}
"""What needs minutes and most of a machine's memory."""
ALLOWED = 0.30
SAMPLES = 40


def models(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Return models with files of their inputs."""
    found = {"mnist_mlp": (EXAMPLE / "mnist_mlp.onnx", EXAMPLE / "digits.npz")}
    found |= {name: (SHARED / f"{name}.onnx", SHARED / f"{name}.npz") for name in NAMES if SHARED.is_dir()}
    for name, (model, samples) in found.items():
        with np.load(samples) as arrays:
            np.save(folder / f"{name}.npy", arrays["x"][:SAMPLES])
        found[name] = (model, folder / f"{name}.npy")
    return found


def main() -> None:
    """Calibrate, measure, compare, and exit with 1 past the bar."""
    clock: trial.Clock = "wall_seconds" if "--wall" in sys.argv else "cpu_seconds"
    named = [name for name in sys.argv[1:] if not name.startswith("-")]
    known = [name for name in registry.names("backends") if name in {"ezkl", "giza_orion", "zkml_halo2"}]
    errors: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["BALANCE_HOME"] = str(Path(scratch, "home"))
        workspace = Workspace.default()
        for backend in named or known:
            budget = trial.BUDGET_SECONDS / len(known)
            lines = calibration.lines(trial.measured(workspace, backend, budget=budget, clock=clock))
            for name, (model, inputs) in models(Path(scratch)).items():
                if (backend, name) in HEAVY:
                    continue
                point = trial.run(workspace, backend, model, inputs, clock=clock)
                expected = calibration.apply(lines, point.predicted)
                for figure, measured in point.measured.items():
                    predicted = getattr(expected, figure)
                    errors.append(abs(predicted - measured) / measured)
                    print(f"{backend} {name} {figure}: expected {predicted:.3g}, was {measured:.3g}, "
                          f"{errors[-1]:.0%} off", flush=True)  # fmt: skip
    print(f"median error {median(errors):.0%} over {len(errors)} figures; the bar is {ALLOWED:.0%}")
    sys.exit(median(errors) > ALLOWED)


if __name__ == "__main__":
    main()
