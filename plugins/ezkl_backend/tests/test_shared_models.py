"""Trained models of some size, where they are at hand: settings from one half of the samples, tried on the other."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from balance_ezkl.backend import EzklBackend

from balance_core.contracts import Samples
from balance_core.model import fidelity, reference
from balance_core.model.load import load

FOLDER = Path(__file__).parents[4] / "shared" / "models"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the trained models are not on this machine"),
]


def halves(name):
    model = load(FOLDER / f"{name}.onnx")
    (spec,) = model.inputs
    with np.load(FOLDER / f"{name}.npz") as stored:
        inputs = stored["x"].reshape(-1, *spec.shape).astype(spec.dtype)
    outputs = reference.run(model.onnx, {spec.name: inputs})
    half = len(inputs) // 2
    return model, *(
        Samples({spec.name: inputs[part]}, {key: array[part] for key, array in outputs.items()})
        for part in (slice(half), slice(half, None))
    )


@pytest.mark.parametrize("name", ["cancer_logreg", "iris_tree", "mnist_mlp", "mnist_cnn"])
def test_held_samples_get_the_float_models_decision(name, bench):
    model, shown, held = halves(name)
    circuit = bench.setup(model, shown)
    started = time.monotonic()
    answers = bench.execute(circuit, held.inputs)
    spent = time.monotonic() - started
    found = fidelity.measure(held.outputs, [{tensor.name: tensor.real() for tensor in row} for row in answers])
    assert found.disagreements is not None
    assert found.disagreements <= max(1, len(answers) // 100)
    assert spent / len(answers) < 2


def test_estimates_of_larger_models_are_minutes_and_gigabytes():
    for name, seconds, gigabytes in (("lenet5", 30, 4), ("mnist_transformer", 30, 6)):
        estimate = EzklBackend().check(load(FOLDER / f"{name}.onnx")).estimate
        assert seconds < estimate.prove_seconds < 20 * seconds
        assert gigabytes < estimate.memory_bytes / 1e9 < 5 * gigabytes
