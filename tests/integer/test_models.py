"""Whole models: accuracy after calibration on half of the samples, measured on the other half."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from balance_core.integer import IntegerSettings, calibrate, dumps, execute, loads
from balance_core.model import fidelity, reference
from balance_core.model.inputs import as_batch
from balance_core.model.load import load

OWN = Path(__file__).parents[1] / "data" / "models"
BESIDE = Path(__file__).parents[3] / "shared" / "models"
"""Larger models, where they lie beside the project."""


def found(name):
    for folder in (OWN, BESIDE):
        if (folder / f"{name}.onnx").exists():
            return folder / f"{name}.onnx"
    pytest.skip(f"{name}.onnx is not at hand")


def halves(name):
    """Return the model, and its samples in two halves."""
    path = found(name)
    model = load(path)
    with np.load(path.with_suffix(".npz")) as arrays:
        batch = as_batch({model.inputs[0].name: arrays["x"]}, model.inputs)
    half = len(next(iter(batch.values()))) // 2
    return model, {k: v[:half] for k, v in batch.items()}, {k: v[half:] for k, v in batch.items()}


@pytest.mark.parametrize(
    ("name", "disagreements"),
    [
        ("mnist_mlp", 1),
        ("mnist_cnn", 1),
        ("lenet5", 1),
        ("mnist_transformer", 2),
        ("iris_tree", 0),
        ("cancer_logreg", 0),
    ],
)
def test_decisions_are_the_float_models_at_few_bits(name, disagreements):
    model, samples, test = halves(name)
    calibration = calibrate(model.proto(), samples)
    report = calibration.report
    floats = reference.run(model.proto(), test)
    reals = execute(calibration.model, test).reals
    count = len(next(iter(test.values())))
    measured = fidelity.measure(floats, [{k: reals[k][i] for k in floats} for i in range(count)])
    assert measured.disagreements <= disagreements
    assert report.mean_bits <= 12
    assert report.suffices
    assert set(report.chosen.largest_errors) == set(floats)
    for output in measured.outputs:
        span = float(np.ptp(floats[output.name])) or 1.0
        assert output.largest_error <= 0.05 * span, output.name


@pytest.mark.parametrize("name", ["iris_tree", "cancer_logreg", "mnist_transformer"])
def test_the_same_inputs_give_the_same_bytes(name):
    model, samples, _ = halves(name)
    first, second = (calibrate(model.proto(), samples) for _ in range(2))
    assert dumps(first.model) == dumps(second.model)
    assert first.report.to_json() == second.report.to_json()
    assert loads(dumps(first.model)).digest == first.model.digest


def test_more_bits_mean_a_smaller_error():
    model, samples, _ = halves("cancer_logreg")
    errors = [
        calibrate(model.proto(), samples, IntegerSettings(bits=bits)).report.chosen.relative_error
        for bits in (6, 9, 12)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_the_search_says_when_its_aim_is_not_reached():
    model, samples, _ = halves("cancer_logreg")
    report = calibrate(model.proto(), samples, IntegerSettings(max_error=1e-9, max_bits=7)).report
    assert not report.suffices
    assert [quality.bits for quality in report.tried] == [6, 7]
    assert "not reached" in report.table()


def test_without_samples_random_inputs_are_used_and_the_report_says_so():
    model, *_ = halves("cancer_logreg")
    report = calibrate(model.proto(), None, IntegerSettings(bits=8, low=-3, high=3)).report
    assert report.random_inputs
    assert "random inputs" in report.table()


def test_the_report_shows_each_layer():
    model, samples, _ = halves("cancer_logreg")
    report = calibrate(model.proto(), samples).report
    layer = next(layer for layer in report.layers if layer.tensor == "probabilities")
    assert layer.shape == (1, 2)
    assert 0 <= layer.low < layer.high <= 1
    assert layer.largest_error == pytest.approx(report.chosen.largest_errors["probabilities"])
    assert "probabilities" in report.table()
    assert type(report).from_json(report.to_json()) == report


def test_values_beyond_the_calibrated_range_saturate():
    model, samples, test = halves("cancer_logreg")
    integer = calibrate(model.proto(), samples, IntegerSettings(bits=8)).model
    name = model.inputs[0].name
    far = {name: test[name] * 1e30}
    huge = {name: np.where(test[name] > 0, np.inf, -np.inf)}
    assert np.array_equal(execute(integer, far).outputs["label"], execute(integer, huge).outputs["label"])
