from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper, parser

from balance_core.errors import BalanceError
from balance_core.model.load import load
from balance_core.model.ml import attributes

if TYPE_CHECKING:
    from collections.abc import Callable


from tests.model.normalising import check_same_answers, operators

# --- functions, names, order --------------------------------------------------------------------------------------


def test_functions_are_inlined(random: np.random.Generator) -> None:
    proto = parser.parse_model("""<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        model (float[N,4] x) => (float[N,4] y) { h = own.twice <by = 2.0> (x) y = own.twice <by = 0.5> (h) }
        <domain: "own", opset_import: ["" : 17]> twice <by> (a) => (c) { b = Abs(a) c = Elu <alpha: float = @by> (b) }
    """)
    form = check_same_answers(load(proto), random)
    assert operators(form) == ["Abs", "Elu", "Abs", "Elu"]
    assert [entry.domain for entry in form.opset_import] == [""]
    assert not form.functions


def test_a_constant_inside_a_function_is_what_the_caller_gives(random: np.random.Generator) -> None:
    proto = parser.parse_model("""<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        model (float[N,4] x) => (float[N,4] y) { y = own.plus <by: float = 2.0> (x) }
        <domain: "own", opset_import: ["" : 17]> plus <by> (a) => (c) {
            b = Constant <value_float: float = @by> ()  c = Add(a, b) }
    """)
    assert operators(check_same_answers(load(proto), random)) == ["Add"]


def test_nodes_are_sorted_and_keep_their_names(parse: Callable[..., ModelProto]) -> None:
    proto = parse(
        "(float[N,3] x) => (float[N,3] y) { [same] y = Relu(b) [same] b = Neg(a) a = Exp(x) Relu = Abs(x) }"
    )
    form = load(proto).proto()
    assert [(node.op_type, node.name) for node in form.graph.node] == [
        ("Exp", "Exp_1"),
        ("Neg", "same"),
        ("Relu", "Relu_1"),
    ]


def test_description_is_dropped_and_bytes_do_not_depend_on_it(parse: Callable[..., ModelProto]) -> None:
    text = "(float[N,3] x) => (float[N,3] y) <float[3] w = {1,2,3}> { y = Add(x, w) }"
    plain, described = parse(text), parse(text)
    described.doc_string = described.graph.doc_string = described.graph.node[0].doc_string = "words"
    described.metadata_props.add(key="who", value="me")
    described.producer_name = "me"
    described.ir_version = 9
    described.graph.initializer[0].doc_string = "weights"
    assert load(plain).onnx == load(described).onnx


# --- default attributes -------------------------------------------------------------------------------------------


def test_a_convolution_says_everything(parse: Callable[..., ModelProto], random: np.random.Generator) -> None:
    proto = parse("(float[N,2,7,7] x) => (float[N,3,A,B] y) { y = Conv(x, w) }")
    proto.graph.initializer.append(numpy_helper.from_array(random.normal(size=(3, 2, 3, 2)).astype(np.float32), "w"))
    [node] = check_same_answers(load(proto), random).graph.node
    assert attributes(node) == {
        "auto_pad": b"NOTSET",
        "dilations": [1, 1],
        "group": 1,
        "kernel_shape": [3, 2],
        "pads": [0, 0, 0, 0],
        "strides": [1, 1],
    }


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize(
    "operator",
    [
        "Conv<auto_pad = %s, strides = [2, 1]>(x, w)",
        "MaxPool<auto_pad = %s, kernel_shape = [3, 2], strides = [2, 2]>(x)",
        "AveragePool<auto_pad = %s, kernel_shape = [3, 2], strides = [2, 1]>(x)",
    ],
)
def test_automatic_padding_is_written_out(
    parse: Callable[..., ModelProto], random: np.random.Generator, auto_pad: str, operator: str
) -> None:
    quoted = f'"{auto_pad}"'
    proto = parse(f"(float[N,2,8,9] x) => (float[N,C,A,B] y) {{ y = {operator % quoted} }}")
    if "Conv" in operator:
        array = random.normal(size=(3, 2, 3, 2)).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, "w"))
    [node] = check_same_answers(load(proto), random).graph.node
    assert attributes(node)["auto_pad"] == b"NOTSET"
    assert len(attributes(node)["pads"]) == 4


def test_other_operators_say_their_defaults_too(
    parse: Callable[..., ModelProto], random: np.random.Generator
) -> None:
    proto = parse("(float[N,4] x) => (float[N,4] y) { a = Elu(x) y = Softmax(a) }")
    form = check_same_answers(load(proto), random)
    assert [attributes(node) for node in form.graph.node] == [{"alpha": 1.0}, {"axis": -1}]


# --- idle nodes ---------------------------------------------------------------------------------------------------

IDLE = {
    "Identity": ("a = Identity(x) b = Relu(a) y = Identity(b)", ["Relu"]),
    "Identity between input and output": ("y = Identity(x)", ["Identity"]),
    "Dropout": ("a = Relu(x) y = Dropout(a)", ["Relu"]),
    "Dropout with a switch": (
        "r = Constant<value_float = 0.5>() t = Constant<value = bool {0}>() a = Dropout(x, r, t) y = Relu(a)",
        ["Relu"],
    ),
    "Dropout whose mask is read": ("a, m = Dropout(x) f = Cast<to: int = 1>(m) y = Mul(a, f)", ["Mul"]),
    "Cast to the same type": ("a = Cast<to: int = 1>(x) y = Relu(a)", ["Relu"]),
    "a chain of them": (
        "a = Identity(x) b = Dropout(a) c = Cast<to: int = 1>(b) d = Relu(c) e = Identity(d) y = Dropout(e)",
        ["Relu"],
    ),
    "two outputs of one value": ("h = Relu(x) y = Identity(h) z = Identity(h)", ["Relu", "Identity"]),
}  # fmt: skip


@pytest.mark.parametrize("what", IDLE)
def test_nodes_that_change_nothing_are_dropped(
    parse: Callable[..., ModelProto], random: np.random.Generator, what: str
) -> None:
    body, left = IDLE[what]
    outputs = "float[N,4] y, float[N,4] z" if "z =" in body else "float[N,4] y"
    form = check_same_answers(load(parse(f"(float[N,4] x) => ({outputs}) {{ {body} }}")), random)
    assert operators(form) == left
    assert form.graph.output[0].name == "y"


def test_an_optional_output_that_is_left_out_stays_so(random: np.random.Generator) -> None:
    weights = [
        numpy_helper.from_array(random.normal(size=(1, 15, size)).astype(np.float32), name)
        for size, name in ((2, "W"), (5, "R"))
    ]
    node = helper.make_node("GRU", ["x", "W", "R"], ["", "y"], hidden_size=5)
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", 1, [3, 1, 2])],
        [helper.make_tensor_value_info("y", 1, [1, 1, 5])], weights,
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert operators(check_same_answers(load(proto), random)) == ["GRU"]


# --- batch normalisation ------------------------------------------------------------------------------------------


def normalisation(random: np.random.Generator, channels: int) -> list[Any]:
    arrays = random.normal(size=(4, channels)).astype(np.float32)
    arrays[3] = np.abs(arrays[3]) + 0.1
    return [numpy_helper.from_array(array, name) for array, name in zip(arrays, ("s", "b", "m", "v"), strict=True)]


NORMALISED = {
    "Conv": ("float[N,2,5,5] x", "h = Conv(x, w)", (6, 2, 3, 3), ["Conv"]),
    "Conv with a bias": ("float[N,2,5,5] x", "h = Conv(x, w, c)", (6, 2, 3, 3), ["Conv"]),
    "Conv in groups": ("float[N,4,5,5] x", "h = Conv<group: int = 2>(x, w, c)", (6, 2, 3, 3), ["Conv"]),
    "Conv of one dimension": ("float[N,2,9] x", "h = Conv(x, w)", (6, 2, 3), ["Conv"]),
    "ConvTranspose": ("float[N,2,5,5] x", "h = ConvTranspose(x, w, c)", (2, 6, 3, 3), ["ConvTranspose"]),
    "ConvTranspose in groups": (
        "float[N,4,5,5] x", "h = ConvTranspose<group: int = 2>(x, w, c)", (4, 3, 3, 3), ["ConvTranspose"],
    ),
    "Gemm": ("float[N,3] x", "h = Gemm(x, w, c)", (3, 6), ["Gemm"]),
    "Gemm with all attributes": (
        "float[N,3] x", "h = Gemm<alpha: float = 0.5, beta: float = 3.0, transB: int = 1>(x, w, c)", (6, 3), ["Gemm"],
    ),
    "Gemm without a bias": ("float[N,3] x", "h = Gemm(x, w)", (3, 6), ["Gemm"]),
    "Gemm with one number as its bias": ("float[N,3] x", "h = Gemm(x, w, one)", (3, 6), ["Gemm"]),
    "MatMul": ("float[N,3] x", "h = MatMul(x, w)", (3, 6), ["MatMul", "Add"]),
    "MatMul and Add": ("float[N,3] x", "g = MatMul(x, w) h = Add(g, c)", (3, 6), ["MatMul", "Add"]),
    "Add and MatMul": ("float[N,3] x", "g = MatMul(x, w) h = Add(c, g)", (3, 6), ["MatMul", "Add"]),
    "two readers": ("float[N,3] x", "h = Gemm(x, w, c) z = Relu(h)", (3, 6), ["Gemm", "Relu", "BatchNormalization"]),
    "an activation between": (
        "float[N,3] x", "g = Gemm(x, w) h = Relu(g)", (3, 6), ["Gemm", "Relu", "BatchNormalization"],
    ),
    "two in a row": (
        "float[N,3] x", "f = Gemm(x, w) h = BatchNormalization(f, s, b, m, v)", (3, 6), ["Gemm"],
    ),
    "weights that others share": (
        "float[N,6] x", "h = Gemm(x, w, c) z = MatMul(x, w)", (6, 6), ["Gemm", "MatMul"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("shapes", [{"s": 5}, {"s": 5, "b": 5, "m": 5, "v": 5}, {"v": 1}])
@pytest.mark.parametrize("layer", ["Conv(x, w)", "ConvTranspose(x, w)", "Conv<group: int = 0>(x, w)"])
def test_a_normalisation_that_does_not_fit_is_no_crash(
    parse: Callable[..., ModelProto], shapes: dict[str, int], layer: str
) -> None:
    proto = parse(f"(float[1,2,5,5] x) => (float[1,C,A,B] y) {{ h = {layer} y = BatchNormalization(h, s, b, m, v) }}")
    sizes = {"s": 6, "b": 6, "m": 6, "v": 6} | shapes
    arrays = {name: np.ones(size, np.float32) for name, size in sizes.items()}
    arrays["w"] = np.ones((2, 6, 3, 3) if "Transpose" in layer else (6, 2, 3, 3), np.float32)
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    with contextlib.suppress(BalanceError):
        load(proto)


@pytest.mark.parametrize("opset", [11, 14, 17])
@pytest.mark.parametrize("what", NORMALISED)
def test_batch_normalisation_is_fused_into_the_layer_before_it(
    parse: Callable[..., ModelProto], random: np.random.Generator, what: str, opset: int
) -> None:
    x, body, shape, left = NORMALISED[what]
    outputs = "float[N,M] y, float[N,M] z" if "z =" in body else "float y"
    proto = parse(
        f"({x}) => ({outputs}) {{ {body} y = BatchNormalization<epsilon: float = 0.01>(h, s, b, m, v) }}", opset
    )
    if outputs == "float y":
        proto.graph.output[0].type.tensor_type.ClearField("shape")
    proto.graph.initializer.append(numpy_helper.from_array(random.normal(size=shape).astype(np.float32), "w"))
    proto.graph.initializer.append(numpy_helper.from_array(random.normal(size=6).astype(np.float32), "c"))
    proto.graph.initializer.append(numpy_helper.from_array(np.array(1.5, np.float32), "one"))
    proto.graph.initializer.extend(normalisation(random, 6))
    assert sorted(operators(check_same_answers(load(proto), random, 2e-5))) == sorted(left)
