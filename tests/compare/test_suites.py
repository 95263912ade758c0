"""Suites: every model loads, takes its samples, and answers what its labels say often enough."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from balance_core.compare import suites
from balance_core.conversion import load_model
from balance_core.errors import ConfigError
from balance_core.model import reference
from balance_core.model.inputs import as_batch

ACCURACY = {
    "mnist_mlp": 0.92, "mnist_cnn": 0.94, "lenet5": 0.95, "mnist_transformer": 0.93, "logistic_regression": 0.95,
    "tree": 0.9, "forest": 0.94, "boosted_trees": 0.9, "mlp_784_56_10": 0.95, "residual": 0.9, "lstm": 0.9,
}  # fmt: skip
"""What the shipped models reach on their samples, rounded down."""
NAMES = [(suite, model) for suite in suites.names() for model in ({
    "smoke": ("logistic_regression", "tree", "perceptron_16"),
    "mnist": ("mnist_mlp", "mnist_cnn", "lenet5", "mnist_transformer"),
    "classic": ("linear_regression", "logistic_regression", "tree", "forest", "boosted_trees", "mlp_784_56_10",
                "residual", "lstm", "scorecard"),
    "ladder": ("perceptron_16", "perceptron_64", "perceptron_256", "perceptron_768"),
}[suite])]  # fmt: skip


@pytest.mark.parametrize(("suite", "name"), NAMES)
def test_a_model_takes_its_samples_and_answers_by_its_labels(suite, name, tmp_path):
    found = next(one for one in suites.load(suite, tmp_path) if one.name == name)
    model = load_model(found.path, {})
    batch = as_batch(found.inputs, model.inputs)
    answers = reference.answers(model, batch)
    count = len(next(iter(batch.values())))
    assert count >= 100
    first = answers[model.outputs[0].name].reshape(count, -1)
    assert len(np.unique(first, axis=0)) > 1, "the answers should depend on the samples"
    if name in ACCURACY:
        assert found.labels is not None
        decided = first.argmax(-1) if first.shape[-1] > 1 else first[:, 0]
        assert (decided == found.labels).mean() >= ACCURACY[name]


def test_each_suite_has_exactly_these_models(tmp_path):
    assert [(suite, one.name) for suite in suites.names() for one in suites.load(suite, tmp_path)] == NAMES


def test_models_from_a_seed_are_the_same_every_time(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        suites.load("ladder", folder)
    assert [path.read_bytes() == (second / path.name).read_bytes() for path in sorted(first.iterdir())] == [True] * 4


def test_an_unknown_suite_is_refused_with_the_names_of_all(tmp_path):
    with pytest.raises(ConfigError, match="no suite 'large'") as caught:
        suites.load("large", tmp_path)
    assert caught.value.hint is not None
    assert "mnist" in caught.value.hint


def test_the_shipped_models_are_what_the_tool_makes(tmp_path):
    """By their samples, exactly: the weights may differ in the last bits of sums."""
    pytest.importorskip("skl2onnx")
    tool = Path(__file__).parents[2] / "tools" / "suite_models.py"
    program = f"import runpy, pathlib; made = runpy.run_path({str(tool)!r}); made['main'].__globals__['CLASSIC'] = pathlib.Path({str(tmp_path)!r}); made['main']()"  # noqa: E501 - one program
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
    for shipped in sorted((Path(suites.__file__).parent / "classic").glob("*.npz")):
        with np.load(shipped) as ours, np.load(tmp_path / shipped.name) as made:
            assert all(np.array_equal(ours[key], made[key]) for key in ours), shipped.name
    for shipped in sorted((Path(suites.__file__).parent / "classic").glob("*.onnx")):
        with np.load(shipped.with_suffix(".npz")) as samples:
            inputs = {"x": samples["x"]}
        ours, made = (
            onnxruntime.InferenceSession(path.read_bytes()).run(None, inputs)
            for path in (shipped, tmp_path / shipped.name)
        )
        for answer, again in zip(ours, made, strict=True):
            assert np.allclose(answer, again, rtol=1e-3, atol=1e-3), shipped.name
