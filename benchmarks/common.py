"""What the benchmarks of provers share: a model's integers, and ezkl's proof of the same model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from balance_core.integer import IntegerModel

SHARED = Path(__file__).resolve().parents[2] / "shared" / "models"
"""Trained models with their samples, where they stand beside this clone."""
EZKL_ALONE = {
    "mnist_mlp": {"wall": 3.16, "cpu": 5.9, "memory": 0.40e9, "setup": 3.1},
    "mnist_cnn": {"wall": 11.8, "cpu": 22.1, "memory": 1.41e9, "setup": 10.4},
    "lenet5": {"wall": 110.0, "cpu": 205.5, "memory": 11.4e9, "setup": 98.0},
    "mnist_transformer": {"wall": 225.0, "cpu": 452.7, "memory": 22e9, "setup": 200.0},
}
"""What `ezkl_alone.py` found on two quiet cores: ezkl 23.0.5 with its defaults, calibrated by itself."""


def lowered(path: Path, samples: int = 1) -> tuple[IntegerModel, dict[str, np.ndarray]]:
    """Return a model's integers, calibrated on half of its samples, and the first `samples` of the others."""
    from balance_core.integer import calibrate
    from balance_core.integer.executor import quantise
    from balance_core.model.inputs import as_batch
    from balance_core.model.load import load

    model = load(path)
    with np.load(path.with_suffix(".npz")) as arrays:
        batch = as_batch({model.inputs[0].name: arrays["x"]}, model.inputs)
    half = len(next(iter(batch.values()))) // 2
    integer = calibrate(model.proto(), {name: array[:half] for name, array in batch.items()}).model
    held = {
        op.label: quantise(batch[op.label][half : half + samples], integer.nodes[place], op)
        for place, op in integer.inputs
    }
    return integer, held


def ezkl_alone(path: Path) -> dict[str, float]:
    """Return what a proof by ezkl takes now, calibrated by itself, in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("ezkl_alone.py")), str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def prove_with_ezkl(path: Path) -> tuple[float, float]:
    """Return wall and CPU seconds of ezkl's proof of one answer, with the cheapest settings that keep agreement."""
    import balance_core as balance

    samples = np.load(path.with_suffix(".npz"))["x"]
    run = balance.run(path, samples[:1], samples=samples[: len(samples) // 2], backend="ezkl")
    spent = next(stage.measurement for stage in run.receipt.stages if stage.stage == "prove")
    return spent.wall_seconds, spent.cpu_seconds
