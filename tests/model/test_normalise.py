from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import ModelProto, checker, helper, numpy_helper, parser

from balance_core.errors import BalanceError, ConfigError, UnsupportedModel
from balance_core.model import inputs, reference
from balance_core.model.draft import LABELS_KEY
from balance_core.model.load import load
from balance_core.model.ml import attributes
from balance_core.model.normalise import normalise

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_core.model import Model


def batch_for(model: Model, random: np.random.Generator, count: int = 4) -> dict[str, np.ndarray]:
    return {
        spec.name: random.normal(size=(count, *spec.shape)).astype(spec.dtype)
        if spec.dtype.startswith("float")
        else random.integers(0, 2, (count, *spec.shape)).astype(spec.dtype)
        for spec in model.inputs
    }


def check_same_answers(model: Model, random: np.random.Generator, tolerance: float = 1e-5) -> ModelProto:
    """Compare with the original under onnxruntime, check the form, and return it."""
    assert model.original is not None
    batch = batch_for(model, random)
    assert reference.largest_difference(model.original, model.onnx, batch) <= tolerance
    proto = model.proto()
    checker.check_model(proto, full_check=True)
    assert normalise(proto).SerializeToString(deterministic=True) == model.onnx
    assert all(node.name for node in proto.graph.node)
    return proto


def operators(proto: ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def shape_of(proto: ModelProto) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in proto.graph.input[0].type.tensor_type.shape.dim)


# --- dimensions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "sizes", "fixed"),
    [
        ("N,4", {}, (1, 4)),
        ("batch_size,4", {}, (1, 4)),
        ("N,4", {"N": 3}, (3, 4)),
        ("anything,4", {}, (1, 4)),
        ("N,T", {"T": 7}, (1, 7)),
        ("T,batch", {"T": 7}, (7, 1)),
        ("?,?", {"x.1": 5}, (1, 5)),
        ("?,4", {"x.0": 2}, (2, 4)),
        ("2,4", {}, (2, 4)),
    ],
)
def test_open_dimensions_get_sizes(
    parse: Callable[..., ModelProto], shape: str, sizes: dict[str, int], fixed: tuple[int, ...]
) -> None:
    proto = parse(f"(float[{shape}] x) => (float[{shape}] y) {{ y = Relu(x) }}")
    model = load(proto, dimensions=sizes)
    assert shape_of(model.proto()) == fixed
    assert model.outputs[0].shape == fixed


def test_every_dimension_left_open_is_named_with_the_flag_that_closes_it(parse: Callable[..., ModelProto]) -> None:
    proto = parse("(float[N,T,H] x, float[N,?] z) => (float[N,T,H] y) { y = Relu(x) }")
    with pytest.raises(UnsupportedModel) as caught:
        load(proto)
    assert [issue.mend for issue in caught.value.issues] == ["--dim T=NUMBER", "--dim H=NUMBER", "--dim z.1=NUMBER"]
    assert "--dim H=NUMBER --dim T=NUMBER" in str(caught.value.hint)
    with pytest.raises(UnsupportedModel, match="H"):
        load(proto, dimensions={"T": 3, "z.1": 3})


@pytest.mark.parametrize(("sizes", "words"), [({"T": 3}, "no open dimension 'T'"), ({"N": 0}, "cannot be 0")])
def test_sizes_that_make_no_sense_are_refused(
    parse: Callable[..., ModelProto], sizes: dict[str, int], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        load(parse("(float[N,4] x) => (float[N,4] y) { y = Relu(x) }"), dimensions=sizes)


# --- folding ------------------------------------------------------------------------------------------------------

FOLDED = {
    "shape arithmetic": (
        """(float[N,2,6] x) => (float[N,K] y) {
            s = Shape(x)
            i = Constant<value_ints = [0]>()
            n = Gather(s, i)
            rest = Constant<value_ints = [-1]>()
            t = Concat<axis: int = 0>(n, rest)
            y = Reshape(x, t)
        }""",
        ["Reshape"],
    ),
    "constants that feed constants": (
        """(float[N,3] x) => (float[N,3] y) {
            a = Constant<value = float[3] {1,2,3}>()
            b = Mul(a, a)
            c = Sqrt(b)
            y = Add(x, c)
        }""",
        ["Add"],
    ),
    "a branch that is always taken": (
        """(float[N,3] x) => (float[N,3] y) {
            s = Shape(x)
            one = Constant<value_ints = [1]>()
            n = Gather(s, one)
            three = Constant<value_ints = [3]>()
            e = Equal(n, three)
            y = If(e) <then_branch = a () => (float[N,3] t) {
                           c = Constant<value_float: float = 2.0>() u = Mul(x, c) t = Neg(u) },
                       else_branch = b () => (float[N,3] f) { f = Identity(x) }>
        }""",
        ["Mul", "Neg"],
    ),
    "a branch within a branch": (
        """(float[N,3] x) => (float[N,3] y) {
            yes = Constant<value = bool {1}>()
            no = Constant<value = bool {0}>()
            u = Abs(x)
            y = If(no) <then_branch = a () => (float[N,3] t) { t = Identity(x) },
                        else_branch = b () => (float[N,3] f) {
                            v = Exp(u)
                            f = If(yes) <then_branch = c () => (float[N,3] g) { w = Sub(v, u) g = Neg(w) },
                                         else_branch = d () => (float[N,3] h) { h = Identity(v) }> }>
        }""",
        ["Abs", "Exp", "Sub", "Neg"],
    ),
    "a mask made by position": (
        """(float[1,3,3] x) => (float[1,3,3] y) {
            one = Constant<value = float {1}>()
            s = Constant<value_ints = [3, 3]>()
            m = Expand(one, s)
            t = Trilu<upper: int = 0>(m)
            y = Mul(x, t)
        }""",
        ["Mul"],
    ),
    "the parts that no output needs": (
        "(float[N,3] x) => (float[N,3] y) { d = Exp(x) y = Relu(x) e = Add(d, y) }",
        ["Relu"],
    ),
}


STEPS = {
    "a loop": (
        """y = Loop(n, , x) <body = b (int64 i, bool c, float[2,3] v) => (bool d, float[2,3] w)
                             { d = Identity(c) f = Cast<to: int = 1>(i) w = Add(v, f) }>""",
        ["Add"] * 3,
    ),
    "a loop that ends before its count": (
        """y = Loop(many, yes, x) <body = b (int64 i, bool c, float[2,3] v) => (bool d, float[2,3] w)
                                   { one = Constant<value = int64 {1}>() d = Less(i, one) w = Neg(v) }>""",
        ["Neg"] * 2,
    ),
    "a loop that never begins": (
        """u = Abs(x)
           y = Loop(many, no, u) <body = b (int64 i, bool c, float[2,3] v) => (bool d, float[2,3] w)
                                  { d = Identity(c) w = Neg(v) }>""",
        ["Abs"],
    ),
    "a loop that collects": (
        """l, r = Loop(n, , x) <body = b (int64 i, bool c, float[2,3] v) => (bool d, float[2,3] w, float[2,3] s)
                                { d = Identity(c) w = Add(v, x) s = Mul(w, v) }>
           y = ReduceSum<keepdims: int = 0>(r, axis)""",
        None,
    ),
    "a loop within a loop": (
        """y = Loop(n, , x) <body = b (int64 i, bool c, float[2,3] v) => (bool d, float[2,3] w) {
               d = Identity(c)
               a = Abs(v)
               w = Loop(i, , a) <body = e (int64 j, bool f, float[2,3] p) => (bool g, float[2,3] q)
                                 { g = Identity(f) q = Sub(p, x) }> }>""",
        ["Abs", "Abs", "Sub", "Abs", "Sub", "Sub"],
    ),
    "a scan": (
        """z = Constant<value = float[3] {0, 0, 0}>()
           s, y = Scan<num_scan_inputs: int = 1, body = b (float[3] v, float[3] e) => (float[3] w, float[3] o)
                       { w = Add(v, e) o = Identity(w) }>(z, x)""",
        None,
    ),
    "a scan backwards along another axis": (
        """z = Constant<value = float[2] {1, 2}>()
           s, o = Scan<num_scan_inputs: int = 1, scan_input_axes = [1], scan_input_directions = [1],
                       scan_output_axes = [-1], scan_output_directions = [1],
                       body = b (float[2] v, float[2] e) => (float[2] w, float[2] r)
                       { w = Sub(v, e) r = Mul(w, v) }>(z, x)
           y = Add(o, x)""",
        None,
    ),
}


@pytest.mark.parametrize(
    "attribute",
    [
        "scan_input_axes = [0, 0]",
        "scan_input_directions = [1, 1, 1]",
        "scan_output_axes = [0, 1]",
        "scan_output_directions = [1, 1]",
        "scan_input_axes = [7]",
        "scan_output_axes = [7]",
    ],
)
def test_a_scan_that_contradicts_itself_is_a_clean_error(parse: Callable[..., ModelProto], attribute: str) -> None:
    body = "body = b (float[3] v, float[3] e) => (float[3] w, float[3] o) { w = Add(v, e) o = Identity(w) }"
    text = f"""(float[2,3] x) => (float[2,3] y) {{
        z = Constant<value = float[3] {{0, 0, 0}}>()
        s, y = Scan<num_scan_inputs: int = 1, {attribute}, {body}>(z, x)
    }}"""
    with pytest.raises((ConfigError, UnsupportedModel)):
        load(parse(text))


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("what", STEPS)
def test_steps_that_no_input_decides_are_unrolled(
    parse: Callable[..., ModelProto], random: np.random.Generator, what: str, opset: int
) -> None:
    body, left = STEPS[what]
    if opset < 13:
        body = body.replace("ReduceSum<keepdims: int = 0>(r, axis)", "ReduceSum<keepdims: int = 0, axes = [0]>(r)")
    constants = "int64 n = {3}, int64 many = {1000000}, bool yes = {1}, bool no = {0}, int64[1] axis = {0}"
    proto = parse(f"(float[2,3] x) => (float[2,3] y) <{constants}> {{ {body} }}", opset)
    found = operators(check_same_answers(load(proto), random))
    assert not {"Loop", "Scan"} & set(found)
    assert left is None or found == left


@pytest.mark.parametrize("what", FOLDED)
def test_what_no_input_has_a_part_in_is_folded(
    parse: Callable[..., ModelProto], random: np.random.Generator, what: str
) -> None:
    text, left = FOLDED[what]
    assert operators(check_same_answers(load(parse(text)), random)) == left


def test_a_sparse_constant_becomes_dense(parse: Callable[..., ModelProto], random: np.random.Generator) -> None:
    proto = parse("(float[2,3] x) => (float[2,3] y) { y = Add(x, w) }")
    values = numpy_helper.from_array(np.array([2, 3], np.float32), "w")
    indices = numpy_helper.from_array(np.array([1, 5]), "at")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 3]))
    model = load(proto)
    x = random.normal(size=(1, 2, 3)).astype(np.float32)
    expected = x + np.array([[[0, 2, 0], [0, 0, 3]]], np.float32)
    assert (reference.run(model.onnx, {"x": x})["y"] == expected).all()


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


# --- opsets, ZipMap and labels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", range(11, 24))
def test_all_opsets_from_eleven_up_are_read(
    parse: Callable[..., ModelProto], random: np.random.Generator, opset: int
) -> None:
    body = "a = Softmax(x) b = Clip(a) c = Flatten(b) y = ArgMax<axis: int = 1>(c)"
    model = load(parse(f"(float[N,3,4] x) => (int64[N,1] y) {{ {body} }}", opset))
    form = check_same_answers(model, random)
    defined = [version for version in (17, 21, 23) if version <= max(opset, 17)]  # Flatten: anew in 21 and in 23
    assert form.opset_import[0].version == defined[-1]


def test_a_model_imports_the_oldest_opset_that_defines_its_operators_alike(
    parse: Callable[..., ModelProto], random: np.random.Generator
) -> None:
    text = "(float[N,4] x) => (float[N,4] y) { a = %s(x) y = Exp(a) }"
    versions = {
        operator: check_same_answers(load(parse(text % operator, 22)), random).opset_import[0].version
        for operator in ("Relu", "Mish", "Gelu")
    }
    assert versions == {"Relu": 17, "Mish": 22, "Gelu": 20}


def test_what_is_left_to_be_worked_out_is_written_out(
    parse: Callable[..., ModelProto], random: np.random.Generator
) -> None:
    proto = parse("""(float[N,4,3] x) => (float[N,A,B] y) <int64[3] s = {0, -1, 2}, int64[1] two = {2}> {
        a = Reshape(x, s) c = CastLike(two, a) y = Mul(a, c)
    }""")
    form = check_same_answers(load(proto), random)
    assert operators(form) == ["Reshape", "Mul"]
    constants = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in form.graph.initializer}
    assert constants[form.graph.node[0].input[1]] == [1, 6, 2]


def scored(labels: dict[str, Any], zipped: bool) -> ModelProto:
    key = "classlabels_strings" if "classlabels_strings" in labels else "classlabels_int64s"
    given = {"classlabels_ints" if name == "classlabels_int64s" else name: value for name, value in labels.items()}
    nodes = [
        helper.make_node("LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml",
                         coefficients=[1.0, -1.0, 0.5, 2.0, -1.0, 0.0], intercepts=[0.1, 0.2, 0.3], **given)
    ]  # fmt: skip
    if zipped:
        nodes.append(helper.make_node("ZipMap", ["scores"], ["zipped"], domain="ai.onnx.ml", **{key: labels[key]}))
    kind = helper.make_tensor_type_proto(8 if "strings" in key else 7, ["N"])
    outputs = [helper.make_value_info("label", kind)]
    scores = helper.make_tensor_type_proto(1, ["N", 3])
    if zipped:
        key_type = 8 if "strings" in key else 7
        scores = helper.make_sequence_type_proto(
            helper.make_map_type_proto(key_type, helper.make_tensor_type_proto(1, []))
        )
    outputs.append(helper.make_value_info("zipped" if zipped else "scores", scores))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, ["N", 2])], outputs)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    "labels", [{"classlabels_int64s": [7, 3, 5]}, {"classlabels_strings": ["cat", "ant", "bee"]}]
)
def test_scores_come_as_tensors_and_labels_as_numbers(
    random: np.random.Generator, labels: dict[str, Any], zipped: bool
) -> None:
    model = load(scored(labels, zipped))
    batch = batch_for(model, random, 32)
    assert [spec.dtype for spec in model.outputs] == ["int64", "float32"]
    assert operators(model.proto()) == ["LinearClassifier"]
    assert reference.largest_difference(str_free(model.original), model.onnx, batch) == 0
    answers, given = reference.run(model.onnx, batch), reference.run(str_free(model.original), batch)
    if "classlabels_strings" in labels:
        names = labels["classlabels_strings"]
        assert reference.labels(model.onnx) == {"label": tuple(names)}
        assert [[names[number]] for [number] in answers["label"]] == given["label"].tolist()
    else:
        assert reference.labels(model.onnx) == {}
        assert (answers["label"] == given["label"]).all()
    assert (answers[model.outputs[1].name] == given[model.outputs[1].name]).all()


def str_free(data: bytes | None) -> bytes:
    assert data is not None
    return data


def test_labels_looked_up_in_a_list_of_names_become_numbers(parse: Callable[..., ModelProto]) -> None:
    proto = parse("""(float[N,3] x) => (string[N] y) {
        i = ArgMax<axis: int = 1, keepdims: int = 0>(x)
        n = ai.onnx.ml.ArrayFeatureExtractor(names, i)
        s = Constant<value_ints = [-1]>()
        r = Reshape(n, s)
        y = Cast<to: int = 8>(r)
    }""")
    proto.graph.initializer.append(helper.make_tensor("names", 8, [3], [b"cat", b"ant", b"bee"]))
    model = load(proto)
    batch = {"x": np.eye(3, dtype=np.float32)[[2, 0, 1], None]}
    assert reference.run(model.onnx, batch)["y"].ravel().tolist() == [2, 0, 1]
    assert reference.labels(model.onnx) == {"y": ("cat", "ant", "bee")}
    assert reference.largest_difference(str_free(model.original), model.onnx, batch) == 0


def test_names_of_classes_survive_another_opset() -> None:
    proto = scored({"classlabels_strings": ["cat", "ant", "bee"]}, zipped=True)
    proto.opset_import[0].version = 12
    model = load(proto)
    assert model.proto().opset_import[0].version == 17
    assert reference.labels(model.onnx) == {"label": ("cat", "ant", "bee")}


def test_names_of_classes_survive_normalising_again() -> None:
    proto = load(scored({"classlabels_strings": ["cat", "ant", "bee"]}, zipped=True)).proto()
    [entry] = normalise(proto).metadata_props
    assert (entry.key, json.loads(entry.value)) == (f"{LABELS_KEY}label", ["cat", "ant", "bee"])


def test_strings_that_are_compared_are_refused(parse: Callable[..., ModelProto]) -> None:
    proto = parse("(int64[1] x) => (bool[1] y) { a = Gather(names, x) y = Equal(a, other) }")
    proto.graph.initializer.append(helper.make_tensor("names", 8, [2], [b"cat", b"ant"]))
    proto.graph.initializer.append(helper.make_tensor("other", 8, [1], [b"cat"]))
    with pytest.raises(BalanceError, match="string"):
        load(proto)


# --- whole models -------------------------------------------------------------------------------------------------

SHARED = Path("/").joinpath("work", "shared", "models")


@pytest.mark.parametrize(
    "name", ["iris_tree", "cancer_logreg", "mnist_mlp", "mnist_cnn", "lenet5", "mnist_transformer"]
)
def test_the_model_zoo_gives_the_same_answers(name: str) -> None:
    here = Path(__file__).parents[1] / "data" / "models" / f"{name}.onnx"
    path = here if here.exists() else SHARED / here.name
    if not path.exists():
        pytest.skip("this model is not in the repository")
    model = load(path)
    batch = inputs.as_batch(inputs.read_inputs(path.with_suffix(".npz"), model.inputs), model.inputs)
    assert reference.largest_difference(str_free(model.original), model.onnx, batch) <= 1e-5
    assert normalise(model.proto()).SerializeToString(deterministic=True) == model.onnx
