"""`balance exec` and `balance inspect` of models, as a person types them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import onnx
import pytest

from balance_core.cli import invoke
from balance_core.testing.models import mlp

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture
def perceptron(tmp_path):
    onnx.save(mlp(seed=1), tmp_path / "mlp.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).uniform(-1, 1, (20, 1, 4)).astype(np.float32))
    return tmp_path


def test_exec_prints_integers_and_the_reals_they_stand_for(perceptron, capsys):
    x = perceptron / "x.npy"
    assert invoke(["exec", str(perceptron / "mlp.onnx"), "--input", str(x), "-o", "bits=10", "--json"]) == 0
    (output,) = json.loads(capsys.readouterr().out)["outputs"]
    numerator, denominator = map(int, output["scale"].split("/"))
    integers, reals = np.array(output["integers"]), np.array(output["reals"])
    assert integers.shape == reals.shape == (20, 1, 3)
    np.testing.assert_array_equal((integers - output["zero_point"]) * (numerator / denominator), reals)
    from balance_core.model import reference

    floats = reference.run(mlp(seed=1), {"x": np.load(x)})["y"]
    assert np.abs(floats - reals).max() < 0.05


def test_exec_answers_quantised_models_with_their_own_integers(tmp_path, capsys):
    given = np.load(DATA / "tflite" / "int8_conv.npz")
    np.save(tmp_path / "x.npy", given["x0"])
    command = ["exec", str(DATA / "tflite" / "int8_conv.tflite"), "--input", str(tmp_path / "x.npy")]
    assert invoke([*command, "--json"]) == 0
    (output,) = json.loads(capsys.readouterr().out)["outputs"]
    np.testing.assert_array_equal(output["integers"], given["y0"])
    assert invoke(command) == 0
    shown = capsys.readouterr().out
    assert "nothing of this was proven" in shown
    assert " ".join(map(str, given["y0"][0].ravel())) in shown


def test_exec_takes_the_input_files_of_the_zkml_project(capsys):
    folder = DATA / "zkml" / "mobile_sf1024"
    command = ["exec", str(folder / "model.msgpack"), "--input", str(folder / "inp.msgpack"), "--json"]
    assert invoke(command) == 0
    (output,) = json.loads(capsys.readouterr().out)["outputs"]
    assert np.ravel(output["integers"]).tolist() == json.loads((folder / "expected.json").read_text())["outputs"]


def test_exec_says_that_random_inputs_are_no_samples_only_where_they_were_used(perceptron, capsys):
    assert invoke(["inspect", str(perceptron / "mlp.onnx"), "-o", "bits=8"]) == 0
    assert "random inputs" in capsys.readouterr().out
    samples = ["--samples", str(perceptron / "x.npy")]
    assert invoke(["inspect", str(perceptron / "mlp.onnx"), "-o", "bits=8", *samples, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calibration"]["random_inputs"] is False


def test_inspect_shows_operations_and_draws_them(tmp_path, capsys):
    target = tmp_path / "graph.svg"
    source = str(DATA / "tflite" / "int8_conv.tflite")
    assert invoke(["inspect", source, "--svg", str(target)]) == 0
    shown = capsys.readouterr().out
    assert "conv2d" in shown
    assert "[-128, 127]" in shown
    assert ET.fromstring(target.read_text()).tag.endswith("svg")  # noqa: S314 - we wrote it
    assert invoke(["inspect", source, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["operations"]["conv2d"] == 2
    assert data["weights"] > 3000


def test_options_for_models_are_refused_for_bundles(capsys):
    assert invoke(["inspect", "20260101-000000-abcdef", "--svg", "x.svg"]) == 2
    assert "are for models" in capsys.readouterr().err


def test_unknown_settings_are_refused(perceptron, capsys):
    assert invoke(["exec", str(perceptron / "mlp.onnx"), "--input", str(perceptron / "x.npy"), "-o", "bit=8"]) == 2
    assert "did you mean 'bits'" in capsys.readouterr().err


def test_exec_answers_in_a_fixed_point_format(perceptron, capsys):
    x = perceptron / "x.npy"
    command = ["exec", str(perceptron / "mlp.onnx"), "--input", str(x), "-o", "fixed=FP16x16", "--json"]
    assert invoke(command) == 0
    (output,) = json.loads(capsys.readouterr().out)["outputs"]
    assert output["scale"] == "1/65536"
    assert invoke([*command[:-2], "fixed=FP17x3"]) == 2
    assert "fixed" in capsys.readouterr().err
