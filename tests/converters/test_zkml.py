"""The zkml project's files: the integers of its own engine, and the refusal of what its format lets be unsafe."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path

import msgpack
import numpy as np
import pytest
from mutation import mutated

from balance_core.converters.tflite import TFLiteConverter
from balance_core.converters.zkml import ZkmlConverter
from balance_core.converters.zkml.reader import check_configuration, read_configuration, read_inputs, read_model
from balance_core.errors import BalanceError, ConfigError, UnsupportedModel
from balance_core.integer.encoding import dumps, loads
from balance_core.integer.executor import execute_integers
from balance_core.model import integers, load, reference

DATA = Path(__file__).parent.parent / "data" / "zkml"
CASES = sorted(path.name for path in DATA.iterdir())
GOLDEN = Path(__file__).parents[3] / "shared" / "fixtures" / "zkml_mnist"
"""Files of the upstream project itself, which are not ours to copy."""
upstream = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the upstream project's example is not on this machine")


def answered(folder: Path) -> list[int]:
    model = read_model(folder / "model.msgpack")
    outputs = execute_integers(
        ZkmlConverter().convert(folder / "model.msgpack"), read_inputs(folder / "inp.msgpack", model.input_shapes())
    ).outputs
    (output,) = outputs.values()
    return output.reshape(-1).tolist()


@pytest.mark.parametrize("name", CASES)
def test_integers_are_those_of_the_engine(name):
    assert answered(DATA / name) == json.loads((DATA / name / "expected.json").read_text())["outputs"]


def test_all_five_models_are_there():
    assert len(CASES) == 5


@upstream
def test_the_first_generation_of_the_format_gives_the_known_integers():
    expected = [-5312, -8056, -8186, -1669, -4260, 6614, -5131, -6862, -3047, -805]
    assert answered(GOLDEN) == expected


@upstream
def test_the_same_network_through_tflite_agrees_with_the_interpreter():
    from ai_edge_litert.interpreter import Interpreter

    model = load.load(TFLiteConverter().convert(GOLDEN / "model.tflite"), name="case")
    x = np.random.default_rng(3).uniform(0, 1, (5, 1, 28, 28, 1)).astype(np.float32)
    found = reference.run(model.onnx, {model.inputs[0].name: x})[model.outputs[0].name]
    interpreter = Interpreter(str(GOLDEN / "model.tflite"))
    interpreter.allocate_tensors()
    for row, answer in zip(x, found, strict=True):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], row)
        interpreter.invoke()
        np.testing.assert_allclose(
            interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), answer, atol=1e-5
        )


@pytest.mark.parametrize("name", CASES)
def test_the_configuration_is_that_of_its_model_and_of_no_other(name):
    model = read_model(DATA / name / "model.msgpack")
    check_configuration(read_configuration(DATA / name / "config.msgpack"), model)
    for other in set(CASES) - {name}:
        with pytest.raises(ConfigError, match="another model"):
            check_configuration(read_configuration(DATA / other / "config.msgpack"), model)


def test_a_configuration_is_no_model():
    with pytest.raises(ConfigError, match="holds no weights"):
        ZkmlConverter().convert(DATA / CASES[0] / "config.msgpack")


def test_the_model_survives_encoding_and_takes_reals():
    folder = DATA / "tanh_logistic_sf1024"
    integer = loads(dumps(ZkmlConverter().convert(folder / "model.msgpack")))
    given = read_inputs(folder / "inp.msgpack", read_model(folder / "model.msgpack").input_shapes())
    model = integers.describe(integer, "case")
    assert model.inputs[0].dtype == "float64"
    reals = {name: array / 1024 for name, array in given.items()}
    expected = json.loads((folder / "expected.json").read_text())["outputs"]
    found = reference.answers(model, reals)[model.outputs[0].name]
    assert (found.reshape(-1) * 1024).tolist() == expected


def changed(tmp_path: Path, change, name: str = "dense_softmax_sf1000") -> Path:
    """Write a model with one change."""
    value = msgpack.unpackb((DATA / name / "model.msgpack").read_bytes())
    change(value)
    target = tmp_path / "model.msgpack"
    target.write_bytes(msgpack.packb(value))
    return target


UNSAFE = {
    "use_selectors": (lambda m: m.update(use_selectors=False), "use_selectors"),
    "mask": (lambda m: m["layers"][0].update(mask=[0, 1]), "layer 0 has a mask"),
    "duplicate tensor": (lambda m: m["tensors"].append(copy.deepcopy(m["tensors"][0])), "given twice"),
    "no outputs": (lambda m: m.update(out_idxes=[]), "no outputs"),
    "output twice": (lambda m: m.update(out_idxes=m["out_idxes"] * 2), "twice"),
    "unknown output": (lambda m: m.update(out_idxes=[999]), "no layer makes the output 999"),
    "unknown layer": (lambda m: m["layers"][1].update(layer_type="Divide"), "layer 1"),
    "Noop": (lambda m: m["layers"][1].update(layer_type="Noop", params=[0]), "reads 3 tensors"),
    "training": (lambda m: m["layers"][1].update(layer_type="Update"), "training"),
    "output shape": (lambda m: m["layers"][1].update(out_shapes=[[1, 11]]), "declares"),
    "input shape": (lambda m: m["layers"][1].update(inp_shapes=[[1, 31], [10, 32], [10]]), "declares"),
    "made twice": (lambda m: m["layers"][1].update(out_idxes=m["layers"][0]["out_idxes"]), "there already"),
    "activation": (lambda m: m["layers"][0].update(params=[2]), "activation"),
    "implementation": (lambda m: m["layers"][0].update(implementation=3), "implementation"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_what_is_unsafe_or_ambiguous_is_refused_on_load(name, tmp_path):
    change, message = UNSAFE[name]
    with pytest.raises(UnsupportedModel, match=message):
        ZkmlConverter().convert(changed(tmp_path, change))


MALFORMED = {
    "scale": lambda m: m.update(global_sf=0),
    "scale of a float": lambda m: m.update(global_sf=1000.0),
    "k": lambda m: m.update(k=200),
    "no layers": lambda m: m.update(layers=[]),
    "weights beyond 32 bits": lambda m: m["tensors"][0]["data"].__setitem__(0, 2**40),
    "weights of floats": lambda m: m["tensors"][0]["data"].__setitem__(0, 0.5),
    "a boolean among weights": lambda m: m["tensors"][0]["data"].__setitem__(0, True),
    "too few weights": lambda m: m["tensors"][0]["data"].pop(),
    "no shape": lambda m: m["tensors"][0].pop("shape"),
    "a negative axis": lambda m: m["layers"][0].update(inp_shapes=[[1, -16], [32, 16], [32]]),
    "params of text": lambda m: m["layers"][0].update(params=["1"]),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_fields_are_config_errors(name, tmp_path):
    with pytest.raises(ConfigError):
        ZkmlConverter().convert(changed(tmp_path, MALFORMED[name]))


def test_the_older_generation_of_a_file_is_read_alike(tmp_path):
    def older(model):
        for key in ("num_random", "commit_before", "commit_after"):
            model.pop(key, None)
        model["commit"] = False

    name = "dense_softmax_sf1000"
    again = ZkmlConverter().convert(changed(tmp_path, older, name))
    assert again.digest == ZkmlConverter().convert(DATA / name / "model.msgpack").digest


def test_inputs_of_another_model_are_refused():
    model = read_model(DATA / "mobile_sf1024" / "model.msgpack")
    with pytest.raises(ConfigError, match="shape"):
        read_inputs(DATA / "conv_maxpool_sf1024" / "inp.msgpack", model.input_shapes())


def one_layer(tmp_path: Path, kind: str, x: np.ndarray, shape, *, params=(), further=(), scale=100):
    """Return what one layer makes of x."""
    tensors = [
        {"idx": 1 + i, "shape": list(np.shape(t)), "data": np.ravel(t).tolist()} for i, t in enumerate(further)
    ]
    if not tensors:
        tensors = [{"idx": 50, "shape": [1], "data": [0]}]
    layer = {
        "layer_type": kind, "params": list(params), "inp_idxes": [0, *range(1, 1 + len(further))],
        "inp_shapes": [list(x.shape), *(list(np.shape(t)) for t in further)], "out_idxes": [9],
        "out_shapes": [list(shape)], "mask": [],
    }  # fmt: skip
    model = {
        "global_sf": scale, "k": 15, "num_cols": 6, "inp_idxes": [0], "out_idxes": [9], "tensors": tensors,
        "layers": [layer],
    }  # fmt: skip
    target = tmp_path / "model.msgpack"
    target.write_bytes(msgpack.packb(model))
    integer = ZkmlConverter().convert(target)
    return execute_integers(integer, {"t0": x[None]}).outputs["t9"][0]


def half_up(a, b):
    return np.floor_divide(2 * a + b, 2 * b)


def test_layers_mean_what_the_format_says(tmp_path):
    random = np.random.default_rng(4)
    x = random.integers(-900, 900, (1, 4, 4, 2))
    y = random.integers(-900, 900, (2,))

    def check(kind, expected, params=(), further=()):
        found = one_layer(tmp_path, kind, x, np.shape(expected), params=params, further=further)
        np.testing.assert_array_equal(found, expected, err_msg=kind)

    check("Add", np.maximum(x + y, 0), [1], [y])
    check("Sub", x - y, further=[y])
    check("Mul", half_up(x * y, 100), further=[y])
    check("Square", half_up(x * x, 100))
    check("SquaredDifference", half_up((x - y) ** 2, 100), further=[y])
    check("Pow", np.sign(x) * half_up(np.abs(x) ** 3, 100**2), [3])
    check("AveragePool2D", half_up(x.reshape(1, 2, 2, 2, 2, 2).sum(axis=(2, 4)), 4), [2, 2, 2, 2])
    check("MaxPool2D", x.reshape(1, 2, 2, 2, 2, 2).max(axis=(2, 4)), [2, 2, 2, 2])
    check("Mean", half_up(x.sum(axis=(0, 1, 2)), 16).reshape(1, 2), [1, 2])
    check("Pad", np.pad(x, [(0, 0), (1, 2), (0, 1), (0, 0)]), [0, 0, 1, 2, 0, 1, 0, 0])
    check("Transpose", x.transpose(0, 3, 1, 2), [1, 4, 4, 2, 0, 3, 1, 2])
    check("Permute", x.transpose(0, 3, 1, 2), [0, 3, 1, 2])
    check("Reshape", x.reshape(1, 32))
    check("Slice", x[:, 1:3, 2:], [0, 1, 2, 0, 1, 2, -1, 2])
    check("ResizeNearestNeighbor", x.repeat(2, axis=1).repeat(2, axis=2), [0, 0])
    check("Noop", x, [0])
    check("MaskNegInf", np.where([[[[1, 0]]]], -(2**14), x), [1, 2, 1, 0])
    check("Tanh", np.array([round(100 * np.tanh(v / 100)) for v in x.ravel()]).reshape(x.shape))
    check("Logistic", np.array([round(100 / (1 + np.exp(-v / 100))) for v in x.ravel()]).reshape(x.shape))
    positive = np.maximum(x, 1)
    check("Sqrt", np.array([round(10 * np.sqrt(v)) for v in positive.ravel()]).reshape(x.shape))
    check("Rsqrt", np.array([round(1000 / np.sqrt(v)) for v in positive.ravel()]).reshape(x.shape))


def test_values_beyond_32_bits_saturate_and_never_wrap(tmp_path):
    x = np.full((1, 4), 2**14 - 10)
    w = np.full((3, 4), 2**31 - 1)
    found = one_layer(tmp_path, "FullyConnected", x, (1, 3), params=[0], further=[w], scale=1)
    assert (found == 2**31 - 1).all()


def refusal(target: Path) -> str:
    try:
        ZkmlConverter().convert(target)
    except BalanceError as error:
        return error.message
    return ""


def fuzz(count: int, seed: int, folder: Path) -> float:
    random = np.random.default_rng(seed)
    sources = [(DATA / name / "model.msgpack").read_bytes() for name in CASES]
    target, longest = folder / "model.msgpack", 0.0
    for number in range(count):
        target.write_bytes(mutated(sources[number % len(sources)], random))
        start = time.monotonic()
        assert "\n" not in refusal(target)
        longest = max(longest, time.monotonic() - start)
    return longest


def test_damaged_files_are_refused_in_one_line(tmp_path):
    assert fuzz(300, 1, tmp_path) < 10


def test_nested_lists_that_announce_more_than_they_hold_are_refused(tmp_path):
    target = tmp_path / "model.msgpack"
    target.write_bytes(b"\xdd\x00\x70\x00\x00" * 200_000)
    with pytest.raises(ConfigError):
        ZkmlConverter().convert(target)


@pytest.mark.soak
def test_ten_thousand_damaged_files(tmp_path):
    assert fuzz(10_000, 2, tmp_path) < 30
