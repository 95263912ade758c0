"""TensorFlow Lite models as the real converter makes them, against the interpreter's answers; and damaged files."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import pytest
from mutation import mutated
from onnx import ModelProto
from tflite_models import Writer

from balance_core.converters.tflite import TFLiteConverter
from balance_core.errors import BalanceError, ConfigError, UnsupportedModel
from balance_core.model import Model, integers, load, reference

DATA = Path(__file__).parent.parent / "data" / "tflite"
QUANTISED = {"int8_conv", "uint8_mobile"}
FLOATS = sorted({path.stem for path in DATA.glob("*.tflite")} - QUANTISED)
DYNAMIC = 0.01
"""How far a model of 8-bit weights stands from its interpreter, which quantises activations too, as it goes."""


def test_all_twelve_models_are_there():
    assert len(FLOATS) + len(QUANTISED) == 12


@pytest.mark.parametrize("name", FLOATS)
def test_float_models_answer_as_the_interpreter(name):
    proto = TFLiteConverter().convert(DATA / f"{name}.tflite")
    assert isinstance(proto, ModelProto)
    model = load.load(proto, name="case")
    given = np.load(DATA / f"{name}.npz")
    found = reference.run(model.onnx, {model.inputs[0].name: given["x0"]})[model.outputs[0].name]
    assert found.shape == given["y0"].shape
    tolerance = DYNAMIC if name == "dynamic_range" else 2e-6
    np.testing.assert_allclose(found, given["y0"], rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", sorted(QUANTISED))
def test_quantised_models_give_the_interpreters_integers(name):
    integer = TFLiteConverter().convert(DATA / f"{name}.tflite")
    model = integers.describe(integer, "case")
    given = np.load(DATA / f"{name}.npz")
    assert model.inputs[0].dtype == given["x0"].dtype.name
    found = integers.run(integer, {model.inputs[0].name: given["x0"]})
    np.testing.assert_array_equal(found.outputs[model.outputs[0].name], given["y0"].astype(np.int64))


def test_a_model_of_integers_survives_packing_and_answers_in_reals():
    integer = TFLiteConverter().convert(DATA / "int8_conv.tflite")
    model = Model.from_bytes(integers.describe(integer, "case").to_bytes())
    given = np.load(DATA / "int8_conv.npz")
    answers = reference.answers(model, {model.inputs[0].name: given["x0"]})[model.outputs[0].name]
    node = integer.nodes[integer.outputs[0].tensor]
    np.testing.assert_array_equal(answers, (given["y0"].astype(np.float64) - node.zero_point) * float(node.scale))
    with pytest.raises(UnsupportedModel, match="integers already"):
        model.proto()


def test_the_identity_of_a_quantised_model_covers_its_weights():
    def identity(change: int) -> str:
        writer = Writer()
        x = writer.tensor((1, 4), "int8", scale=0.1)
        w = writer.tensor((2, 4), "int8", data=np.arange(8) + change, scale=0.1)
        y = writer.tensor((1, 2), "int8", scale=0.5)
        writer.operator("FULLY_CONNECTED", [x, w, -1], [y], "FullyConnectedOptions")
        return integers.describe(read(writer.write([x], [y])), "case").model_id

    assert identity(0) == identity(0) != identity(1)


def read(data: bytes, folder: Path | None = None):
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(dir=folder) as place:
        source = Path(place) / "case.tflite"
        source.write_bytes(data)
        return TFLiteConverter().convert(source)


def test_weights_in_half_precision_become_floats(tmp_path):
    writer = Writer()
    x, half = writer.tensor((1, 3)), writer.tensor((2, 3), "float16", data=[[0.5, 1, 2], [3, 4, 5.25]])
    w, y = writer.tensor((2, 3)), writer.tensor((1, 2))
    writer.operator("DEQUANTIZE", [half], [w])
    writer.operator("FULLY_CONNECTED", [x, w, -1], [y], "FullyConnectedOptions")
    model = load.load(read(writer.write([x], [y]), tmp_path), name="case")
    found = reference.run(model.onnx, {"t0": np.array([[[1, 1, 1]]], dtype=np.float32)})["t3"]
    np.testing.assert_array_equal(found, [[[3.5, 12.25]]])


def test_reals_around_a_quantised_model_are_its_inputs_and_outputs(tmp_path):
    writer = Writer()
    x, q = writer.tensor((1, 4)), writer.tensor((1, 4), "int8", scale=0.1, zero_point=5)
    r, y = writer.tensor((1, 4), "int8", scale=0.05, zero_point=-3), writer.tensor((1, 4))
    writer.operator("QUANTIZE", [x], [q])
    writer.operator("RELU", [q], [r])
    writer.operator("DEQUANTIZE", [r], [y])
    integer = read(writer.write([x], [y]), tmp_path)
    found = integers.run(integer, {"t0": np.array([[[0.31, -2, 1.02, 99]]])}).reals["t3"]
    np.testing.assert_allclose(found, [[[0.3, 0, 1.0, 6.5]]], atol=1e-6)


@pytest.mark.parametrize(
    "data",
    [b"", b"TFL3", b"\0\0\0\0TFL3" + b"\xff" * 64, b"\x08\0\0\0TFL3" + b"\0" * 64, b"PK\x03\x04" + b"\0" * 64],
)
def test_what_is_no_model_is_a_config_error(data, tmp_path):
    with pytest.raises(ConfigError):
        read(data, tmp_path)


def streaming(dtype: str) -> bytes:
    """A model that keeps the last two inputs, and adds what it keeps to what comes."""
    writer, scale = Writer(), 0.5 if dtype == "int8" else None
    x, kept = writer.tensor((1, 1), dtype, scale=scale), writer.tensor((1, 2), dtype, scale=scale)
    handle, again = writer.tensor((), "resource"), writer.tensor((), "resource")
    joined, last = writer.tensor((1, 3), dtype, scale=scale), writer.tensor((1, 2), dtype, scale=scale)
    sizes = [writer.tensor((2,), "int32", data=data) for data in ([0, 1], [1, 2])]
    writer.operator("CALL_ONCE", [], [])
    writer.operator("VAR_HANDLE", [], [handle], "VarHandleOptions", SharedName="memory")
    writer.operator("VAR_HANDLE", [], [again], "VarHandleOptions", SharedName="memory")
    writer.operator("READ_VARIABLE", [handle], [kept])
    writer.operator("CONCATENATION", [kept, x], [joined], "ConcatenationOptions", Axis=1)
    writer.operator("SLICE", [joined, *sizes], [last])
    writer.operator("ASSIGN_VARIABLE", [again, last], [])
    if dtype == "float32":
        y = writer.tensor((1, 3))
        writer.operator("NEG", [joined], [y])
    else:
        y = writer.tensor((1, 3), dtype, scale=1.0)
        writer.operator("RELU", [joined], [y])
    return writer.write([x], [y])


def test_a_state_becomes_an_input_and_an_output_of_a_float_model(tmp_path):
    model = load.load(read(streaming("float32"), tmp_path), name="case")
    assert [spec.name for spec in model.inputs] == ["t0", "memory"]
    assert [spec.name for spec in model.outputs][1] == "memory/next"
    given = {"t0": np.full((1, 1, 1), 3, np.float32), "memory": np.array([[[1, 2]]], np.float32)}
    found = reference.run(model.onnx, given)
    assert found["memory/next"].ravel().tolist() == [2, 3]
    assert found[model.outputs[0].name].ravel().tolist() == [-1, -2, -3]


def test_a_state_becomes_an_input_and_an_output_of_a_quantised_model(tmp_path):
    integer = read(streaming("int8"), tmp_path)
    state = np.zeros((1, 1, 2), np.int8)
    seen = []
    for value in (4, -6, 8, 10):
        found = integers.run(integer, {"t0": np.full((1, 1, 1), value, np.int8), "memory": state}).outputs
        state = found["memory/next"].astype(np.int8)
        seen.append((found["t8"].ravel().tolist(), state.ravel().tolist()))
    assert seen == [([0, 0, 2], [0, 4]), ([0, 2, 0], [4, -6]), ([2, 0, 4], [-6, 8]), ([0, 4, 5], [8, 10])]


def test_what_is_no_variable_is_not_assigned_to(tmp_path):
    writer = Writer()
    x, y = writer.tensor((1, 3)), writer.tensor((1, 3))
    handle = writer.tensor((), "int32", data=0)
    writer.operator("ASSIGN_VARIABLE", [handle, x], [])
    writer.operator("RELU", [x], [y])
    with pytest.raises(UnsupportedModel, match="ASSIGN_VARIABLE_0"):
        read(writer.write([x], [y]), tmp_path)


def test_a_variable_of_changing_shape_is_refused(tmp_path):
    writer = Writer()
    x, kept, y = writer.tensor((1, 3)), writer.tensor((1, 2)), writer.tensor((1, 2))
    handle = writer.tensor((), "resource")
    writer.operator("VAR_HANDLE", [], [handle], "VarHandleOptions", SharedName="memory")
    writer.operator("READ_VARIABLE", [handle], [kept])
    writer.operator("RELU", [kept], [y])
    writer.operator("ASSIGN_VARIABLE", [handle, x], [])
    with pytest.raises(UnsupportedModel, match="ASSIGN_VARIABLE_3"):
        read(writer.write([x], [y]), tmp_path)


def test_a_huge_tensor_is_refused_before_anything_is_made_of_it(tmp_path):
    writer = Writer()
    x, y = writer.tensor((1, 4)), writer.tensor((1 << 12, 1 << 12, 4))
    shape = writer.tensor((3,), "int32", data=[1 << 12, 1 << 12, 4])
    writer.operator("BROADCAST_TO", [x, shape], [y])
    with pytest.raises(UnsupportedModel):
        read(writer.write([x], [y]), tmp_path)


def refusal(data: bytes, folder: Path) -> str:
    """Convert a file; return what it was refused for, or nothing where it was taken."""
    try:
        read(data, folder)
    except BalanceError as error:
        return error.message
    return ""


def fuzz(count: int, seed: int, folder: Path) -> tuple[int, float]:
    """Convert damaged files; return how many were taken all the same, and the longest time in seconds."""
    random = np.random.default_rng(seed)
    sources = [path.read_bytes() for path in sorted(DATA.glob("*.tflite")) if path.stat().st_size < 13_000]
    sources += [streaming("int8"), streaming("float32")]
    taken, longest = 0, 0.0
    for number in range(count):
        data = mutated(sources[number % len(sources)], random)
        start = time.monotonic()
        reason = refusal(data, folder)
        taken += not reason
        assert "\n" not in reason
        longest = max(longest, time.monotonic() - start)
    return taken, longest


def test_damaged_files_are_refused_in_one_line(tmp_path):
    taken, longest = fuzz(300, 1, tmp_path)
    assert taken < 300
    assert longest < 10


@pytest.mark.soak
def test_ten_thousand_damaged_files(tmp_path):
    _, longest = fuzz(10_000, 2, tmp_path)
    assert longest < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2**20, "KiB"
