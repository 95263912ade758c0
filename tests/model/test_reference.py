from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from balance_core.errors import ConfigError
from balance_core.model import fidelity, reference
from balance_core.model.load import load
from balance_core.records import Fidelity

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx import ModelProto

DATA = Path(__file__).parents[1] / "data" / "models"
ADD = "(float[1,3] x, float[1,3] b) => (float[1,3] y, float s) { y = Add(x, b) s = ReduceSum<keepdims: int = 0>(y) }"


def test_every_sample_is_answered_in_the_model_s_own_shape(
    parse: Callable[..., ModelProto], random: np.random.Generator
) -> None:
    batch = {name: random.normal(size=(5, 1, 3)).astype(np.float32) for name in ("x", "b")}
    found = reference.run(parse(ADD), batch)
    assert list(found) == ["y", "s"]
    assert np.array_equal(found["y"], batch["x"] + batch["b"])
    assert found["s"].shape == (5,)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ({"x": np.zeros((2, 1, 3), np.float32)}, "no array for the input 'b'"),
        ({"x": np.zeros((2, 1, 4), np.float32), "b": np.zeros((2, 1, 3), np.float32)}, "onnxruntime"),
        ({"x": np.zeros((2, 1, 3)), "b": np.zeros((2, 1, 3), np.float32)}, "onnxruntime"),
        ({"x": np.zeros((0, 1, 3), np.float32), "b": np.zeros((0, 1, 3), np.float32)}, "no samples"),
    ],
)
def test_a_batch_that_does_not_fit_is_a_clean_error(
    parse: Callable[..., ModelProto], batch: dict[str, np.ndarray], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        reference.run(parse(ADD), batch)
    assert "\n" not in caught.value.message


def test_what_onnxruntime_refuses_is_a_clean_error(parse: Callable[..., ModelProto]) -> None:
    with pytest.raises(ConfigError, match="onnxruntime does not run the model") as caught:
        reference.run(parse("(float[3] x) => (float[3] y) { y = Nothing(x) }"), {"x": np.zeros((1, 3), np.float32)})
    assert "\n" not in caught.value.message


def test_a_difference_between_two_models_is_found(parse: Callable[..., ModelProto]) -> None:
    text = "(float[1,3] x) => (float[1,3] y) <float w = {%s}> { y = Mul(x, w) }"
    batch = {"x": np.array([[[1, -4, 2]]], np.float32)}
    assert reference.largest_difference(parse(text % "1.0"), parse(text % "1.5"), batch) == 2.0
    assert reference.largest_difference(parse(text % "1.0"), parse(text % "1.0"), batch) == 0.0


def test_models_of_different_outputs_are_not_compared(parse: Callable[..., ModelProto]) -> None:
    left = parse("(float[1,3] x) => (float[1,3] y) { y = Relu(x) }")
    right = parse("(float[1,3] x) => (float[1,3] z) { z = Relu(x) }")
    with pytest.raises(ConfigError, match="does not have the output 'z'"):
        reference.largest_difference(left, right, {"x": np.ones((1, 1, 3), np.float32)})


def test_the_answers_of_the_original_come_in_normal_form() -> None:
    model = load(DATA / "iris_tree.onnx")
    with np.load(DATA / "iris_tree.npz") as stored:
        found = reference.answers(model, {"X": stored["x"][:, None]})
        assert np.array_equal(found["label"].ravel(), stored["float_output"])


def test_signs_survive_a_normalizer_between_fixed_shapes(parse: Callable[..., ModelProto]) -> None:
    proto = parse("""(float[1,2] x) => (float[1,2] y) {
        a = ai.onnx.ml.Scaler<offset = [0.0, 0.0], scale = [2.0, 2.0]>(x)
        b = ai.onnx.ml.Normalizer<norm = "L2">(a)
        y = Neg(b)
    }""")
    found = reference.run(proto, {"x": np.array([[[-3.0, 4.0]]], np.float32)})["y"]
    assert found.ravel() == pytest.approx([0.6, -0.8])


def test_onnxruntime_is_told_to_call_nobody_before_it_is_imported(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from balance_core.model import reference\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "reference._runtime()\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'], sorted(os.listdir('.')))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environment |= {
        "HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=True, text=True
    )
    assert done.stdout.strip() == "1 []"
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


# --- fidelity -----------------------------------------------------------------------------------------------------


def proven(outputs: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    count = len(next(iter(outputs.values())))
    return [{name: array[place].astype(np.float64) for name, array in outputs.items()} for place in range(count)]


def test_equal_answers_agree_in_everything() -> None:
    outputs = {"scores": np.array([[[0.1, 0.9]], [[0.8, 0.2]]], np.float32)}
    found = fidelity.measure(outputs, proven(outputs))
    assert (found.samples, found.disagreements, found.top1_agreement) == (2, 0, 1.0)
    assert (found.largest_error, found.mean_error) == (0.0, 0.0)
    assert Fidelity.from_json(found.to_json()) == found


def test_errors_and_disagreements_are_counted() -> None:
    floats = {"scores": np.array([[[0.5, 1.0]], [[0.75, 0.25]], [[1.0, 0.0]]])}
    others = {"scores": np.array([[[1.0, 0.5]], [[0.75, 0.25]], [[1.0, 0.0]]])}
    found = fidelity.measure(floats, proven(others))
    assert (found.disagreements, found.top1_agreement) == (1, 2 / 3)
    assert (found.largest_error, found.mean_error) == (0.5, 1 / 6)
    assert [(o.name, o.largest_error, o.mean_error) for o in found.outputs] == [("scores", 0.5, 1 / 6)]


def test_an_integer_label_decides_and_not_the_scores() -> None:
    floats = {"scores": np.array([[[0.0, 1.0]], [[1.0, 0.0]]]), "label": np.array([[1], [0]])}
    others = {"scores": np.array([[[1.0, 0.0]], [[1.0, 0.0]]]), "label": np.array([[1], [1]])}
    assert fidelity.measure(floats, proven(others)).disagreements == 1


def test_a_sample_of_several_decisions_agrees_when_all_do() -> None:
    floats = {"logits": np.array([[[[0, 1], [0, 1]]], [[[0, 1], [0, 1]]]])}
    others = {"logits": np.array([[[[0, 1], [1, 0]]], [[[0, 1], [0, 1]]]])}
    assert fidelity.measure(floats, proven(others)).disagreements == 1


def test_a_model_of_one_number_decides_nothing() -> None:
    floats = {"price": np.array([[[3.0]], [[4.0]]])}
    found = fidelity.measure(floats, proven({"price": np.array([[[3.5]], [[4.0]]])}))
    assert (found.disagreements, found.top1_agreement, found.largest_error) == (None, None, 0.5)


def test_infinities_and_nans_count_as_what_they_are() -> None:
    floats = {"y": np.array([[np.inf, np.nan, 1.0]])}
    assert fidelity.measure(floats, proven(floats)).largest_error == 0.0
    found = fidelity.measure(floats, proven({"y": np.array([[np.inf, 0.0, 1.0]])}))
    assert found.largest_error == found.mean_error == sys.float_info.max
    assert Fidelity.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    "others",
    [
        [],
        [{"y": np.zeros(3)}],
        [{"z": np.zeros(3)}, {"y": np.zeros(3)}],
        [{"y": np.zeros(2)}, {"y": np.zeros(2)}],
    ],
)
def test_answers_that_do_not_belong_together_are_refused(others: list[dict[str, np.ndarray]]) -> None:
    with pytest.raises(ConfigError):
        fidelity.measure({"y": np.zeros((2, 3))}, others)
