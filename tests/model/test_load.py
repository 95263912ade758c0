from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, external_data_helper, helper, numpy_helper, save

from balance_core.errors import BalanceError, ConfigError, UnsupportedModel
from balance_core.model import Model, safe_name
from balance_core.model.load import load
from balance_core.model.reference import run

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parents[1] / "data" / "models"
TINY = "(float[N,4] x) => (float[N,2] y) <float[4,2] w = {1,2,3,4,5,6,7,8}> { [product] y = MatMul(x, w) }"


def test_a_model_is_described_by_fixed_shapes_and_operators() -> None:
    model = load(DATA / "iris_tree.onnx")
    assert (model.name, model.operators) == ("iris_tree", ("ai.onnx.ml::TreeEnsembleClassifier",))
    assert [(spec.name, spec.dtype, spec.shape) for spec in (*model.inputs, *model.outputs)] == [
        ("X", "float32", (1, 4)),
        ("label", "int64", (1,)),
        ("probabilities", "float32", (1, 3)),
    ]
    assert model.original == (DATA / "iris_tree.onnx").read_bytes()


def test_a_path_bytes_and_a_proto_give_the_same_model() -> None:
    path = DATA / "cancer_logreg.onnx"  # it imports the default domain twice
    data = path.read_bytes()
    models = [load(source, name="m") for source in (path, str(path), data, ModelProto.FromString(data))]
    assert all(model == models[0] for model in models)


def test_loading_leaves_a_proto_as_it_is(parse: Callable[..., ModelProto]) -> None:
    proto = parse(
        "(float[N,4] x) => (float[N,4] y) { a = Identity(x) b = Constant<value_float: float = 2.0>() y = Add(a, b) }"
    )
    before = proto.SerializeToString()
    load(proto)
    assert proto.SerializeToString() == before


def test_a_packed_model_comes_back_without_its_original() -> None:
    model = load(DATA / "iris_tree.onnx")
    back = Model.from_bytes(model.to_bytes())
    assert back == model
    assert back.original is None
    assert back.proto().graph.node[0].op_type == "TreeEnsembleClassifier"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data[1:],
        lambda data: data + b"x",
        lambda data: data.replace(b'"iris_tree"', b'"../escape"'),
        lambda data: data.replace(b"X", b"Y", 1),
        lambda _: b"",
        lambda _: b"balance model 1\n",
    ],
)
def test_a_damaged_packed_model_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ConfigError):
        Model.from_bytes(spoil(load(DATA / "iris_tree.onnx").to_bytes()))


def test_a_worker_reads_a_model_without_onnx_and_numpy() -> None:
    code = (
        "import sys, balance_core.model\n"
        "model = balance_core.model.Model.from_bytes(sys.stdin.buffer.read())\n"
        "print(model.name, sorted({'onnx', 'numpy', 'onnxruntime'} & set(sys.modules)))"
    )
    packed = load(DATA / "iris_tree.onnx").to_bytes()
    done = subprocess.run([sys.executable, "-c", code], input=packed, capture_output=True, check=True)
    assert done.stdout.decode().strip() == "iris_tree []"


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("My Model (2)", "my-model-2"),
        ("été", "t"),
        ("..", "model"),
        ("-a", "a"),
        ("x" * 99, "x" * 64),
        ("é", "model"),
    ],
)
def test_names_are_made_safe(stem: str, name: str) -> None:
    assert safe_name(stem) == name


# --- files that are no models -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not an ONNX model"),
        (b"hello, world", "not an ONNX model"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not an ONNX model"),
        (bytes(1000), "not an ONNX model"),
        (ModelProto(ir_version=8).SerializeToString(), "not an ONNX model"),
        ((DATA / "iris_tree.onnx").read_bytes()[:500], "cut short|not an ONNX model"),
    ],
)
def test_what_is_not_a_model_is_a_clean_error(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(ConfigError, match=words) as caught:
            load(source)
        assert caught.value.hint
        assert "\n" not in str(caught.value)


def test_paths_that_cannot_be_read_are_clean_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "missing.onnx")
    with pytest.raises(ConfigError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="cannot read"):
        load("model\0.onnx")


def test_more_than_two_gibibytes_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(2**31 + 1)
    start = time.monotonic()
    with pytest.raises(UnsupportedModel, match="more than 2 GiB"):
        load(path)
    assert time.monotonic() - start < 1


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_damaged_file_gives_anything_but_a_clean_error(data: st.DataObject) -> None:
    original = (DATA / "iris_tree.onnx").read_bytes()
    spoilt = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        spoilt[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BalanceError):
        load(bytes(spoilt))


# --- weights in other files ---------------------------------------------------------------------------------------


def external(proto: ModelProto, folder: Path, **entries: str) -> Path:
    """Save a model whose first constant lies in another file, with these entries of external data."""
    tensor = proto.graph.initializer[0]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    (folder / "weights.bin").write_bytes(b"head" + tensor.raw_data)
    external_data_helper.set_external_data(tensor, "weights.bin", offset=4, length=len(tensor.raw_data))
    tensor.ClearField("raw_data")
    for entry in tensor.external_data:
        entry.value = entries.get(entry.key, entry.value)
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    return folder / "model.onnx"


def test_weights_beside_the_model_are_read(parse: Callable[..., ModelProto], tmp_path: Path) -> None:
    plain = load(parse(TINY), name="model")
    assert load(external(parse(TINY), tmp_path)) == plain


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"location": "../weights.bin"}, "outside"),
        ({"location": "sub/../../weights.bin"}, "outside"),
        ({"location": "/etc/passwd"}, "outside"),
        ({"location": "C:\\weights.bin"}, "outside"),
        ({"location": "..\\weights.bin"}, "outside"),
        ({"location": ""}, "outside"),
        ({"location": "link.bin"}, "outside"),
        ({"location": "missing.bin"}, "missing"),
        ({"location": "fifo"}, "missing"),
        ({"location": "."}, "missing"),
        ({"location": "we\0ights.bin"}, "cannot be read"),
        ({"offset": "8"}, "cut short"),
        ({"offset": "99999999999999999999"}, "cannot be read|cut short"),
        ({"offset": "-4"}, "declare|refer"),
        ({"offset": "one"}, "cannot be read"),
        ({"length": "8"}, "refer to 8"),
    ],
)
def test_weights_come_from_nowhere_but_the_model_s_folder(
    parse: Callable[..., ModelProto], tmp_path: Path, entries: dict[str, str], words: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(36))
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    os.mkfifo(folder / "fifo")
    with pytest.raises(ConfigError, match=words):
        load(external(parse(TINY), folder, **entries))


def test_external_weights_need_a_path(parse: Callable[..., ModelProto], tmp_path: Path) -> None:
    path = external(parse(TINY), tmp_path)
    with pytest.raises(ConfigError, match="lie in another file") as caught:
        load(path.read_bytes())
    assert "path" in str(caught.value.hint)


def test_external_weights_of_more_than_two_gibibytes_are_refused_unread(
    parse: Callable[..., ModelProto], tmp_path: Path
) -> None:
    path = external(parse(TINY), tmp_path, length=str(2**43))
    proto = ModelProto.FromString(path.read_bytes())
    proto.graph.initializer[0].dims[0] = 2**40
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UnsupportedModel, match="more than 2 GiB"):
        load(path)


def test_a_model_saved_by_onnx_with_external_weights_loads(parse: Callable[..., ModelProto], tmp_path: Path) -> None:
    proto = parse("(float[1,64] x) => (float[1,64] y) { y = MatMul(x, w) }")
    proto.graph.initializer.append(numpy_helper.from_array(np.eye(64, dtype=np.float32), "w"))
    save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="m.data")
    x = np.arange(64, dtype=np.float32).reshape(1, 1, 64)
    assert (tmp_path / "m.data").exists()
    assert (run(load(tmp_path / "m.onnx").onnx, {"x": x})["y"] == x).all()


# --- what cannot be proven ----------------------------------------------------------------------------------------


def refusal(source: Any, **options: Any) -> UnsupportedModel:
    with pytest.raises(UnsupportedModel) as caught:
        load(source, **options)
    assert "\n" not in str(caught.value)
    return caught.value


def test_every_unknown_operator_is_named(parse: Callable[..., ModelProto]) -> None:
    proto = parse("""(float[4] x) => (float[4] y) {
        [first] a = Frobnicate(x)
        [second] b = com.example.Gadget(a)
        [fine] c = Relu(b)
        [third] d = Gelu(c)
        [dead] e = Frobnicate(d)
        [last] y = ai.onnx.ml.TreeEnsemble(d)
    }""")
    issues = refusal(proto).issues
    assert [(found.node, found.operator) for found in issues] == [
        ("first", "Frobnicate"),
        ("second", "com.example::Gadget"),
        ("third", "Gelu"),
        ("last", "ai.onnx.ml::TreeEnsemble"),
    ]
    assert "opset 17" in issues[2].reason
    assert "import" in issues[1].reason


def test_an_output_that_depends_on_no_input_is_named(parse: Callable[..., ModelProto]) -> None:
    proto = parse("""(float[1,4] x) => (float[1,4] y, float z, float[1,4] w) {
        c = Constant<value = float[1,4] {1,2,3,4}>()
        [lost] z = ReduceSum<keepdims: int = 0>(c)
        s = Shape(x)
        [shape_only] w = ConstantOfShape(s)
        y = Add(x, c)
    }""")
    issues = refusal(proto).issues
    assert [found.node for found in issues] == ["z", "w"]
    assert all("depends on no input" in found.reason for found in issues)


def test_a_model_without_inputs_is_refused() -> None:
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value_float=1.0)],
        "g",
        [],
        [helper.make_tensor_value_info("y", 1, [])],
    )
    assert "depends on no input" in str(
        refusal(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    )


CONTROL = {
    "If": """(float[4] x, bool c) => (float[4] y) {
        [choice] y = If(c) <then_branch = a () => (float[4] t) { t = Neg(x) },
                            else_branch = b () => (float[4] e) { e = Abs(x) }> }""",
    "Loop": """(float[4] x, int64 n) => (float[4] y) {
        [choice] y = Loop(n, , x) <body = b (int64 i, bool c, float[4] v) => (bool d, float[4] w)
                                   { d = Identity(c) w = Add(v, v) }> }""",
    "Loop that the input ends": """(float[4] x) => (float[4] y) {
        n = Constant<value = int64 {9}>()
        [choice] y = Loop(n, , x) <body = b (int64 i, bool c, float[4] v) => (bool d, float[4] w)
                                   { s = ReduceSum<keepdims: int = 0>(v) t = Constant<value_float: float = 9.0>()
                                     d = Less(s, t) w = Add(v, v) }> }""",
    "Loop too long": """(float[4] x) => (float[4] y) {
        n = Constant<value = int64 {90000}>()
        [choice] y = Loop(n, , x) <body = b (int64 i, bool c, float[4] v) => (bool d, float[4] w)
                                   { d = Identity(c) w = Add(v, v) }> }""",
    "Loop of no end": """(float[4] x) => (float[4] y) {
        [choice] y = Loop(, , x) <body = b (int64 i, bool c, float[4] v) => (bool d, float[4] w)
                                   { d = Identity(c) w = Add(v, v) }> }""",
    "Loop of loops": """(float[4] x) => (float[4] y) {
        n = Constant<value = int64 {1000}>()
        [choice] y = Loop(n, , x) <body = b (int64 i, bool c, float[4] v) => (bool d, float[4] w) {
            d = Identity(c)
            w = Loop(n, , v) <body = e (int64 j, bool f, float[4] p) => (bool g, float[4] q)
                              { g = Identity(f) q = Add(p, p) }> }> }""",
}


@pytest.mark.parametrize("operator", CONTROL)
def test_control_flow_that_cannot_be_unrolled_is_named(parse: Callable[..., ModelProto], operator: str) -> None:
    found = refusal(parse(CONTROL[operator])).issues[-1]
    assert found.operator == operator.split(maxsplit=1)[0]
    assert "unrolled" in found.reason
    assert found.mend


@pytest.mark.parametrize(
    ("text", "node", "words"),
    [
        ("(float[4] x) => (float[4] y) { r = RandomNormalLike(x) y = Add(x, r) }", "r", "random"),
        (
            """(float[2,3] x, float[3] s) => (float[2,3] y) {
                y, m, v = BatchNormalization<training_mode: int = 1>(x, s, s, s, s) }""",
            "y",
            "training",
        ),
        (
            """(float[4] x) => (float[4] y) {
                r = Constant<value_float = 0.5>() t = Constant<value = bool {1}>() y = Dropout(x, r, t) }""",
            "y",
            "training",
        ),
        ("(float[4] x) => (int64[M] y) { y = NonZero(x) }", "y", "shape of its value"),
        ("(float[4] x) => (seq(float[4]) y) { y = SequenceConstruct(x) }", "y", "sequence"),
        ("(float[4] x) => (bfloat16[4] y) { y = Cast<to: int = 16>(x) }", "y", "BFLOAT16"),
        ("(string[4] x) => (string[4] y) { y = Identity(x) }", "x", "STRING"),
        ("(float[4] x) => (string[4] y) { y = Cast<to: int = 8>(x) }", "y", "STRING"),
        ("(float[1000000000000] x) => (float[1000000000000] y) { y = Relu(x) }", "x", "larger than"),
    ],
)
def test_other_values_than_tensors_of_numbers_are_named(
    parse: Callable[..., ModelProto], text: str, node: str, words: str
) -> None:
    issues = refusal(parse(text)).issues
    assert issues[0].node == node
    assert words in issues[0].reason


def test_shapes_that_do_not_fit_name_the_node(parse: Callable[..., ModelProto]) -> None:
    proto = parse(
        "(float[1,5] x) => (float[1,2] y) <float[4,2] w = {1,2,3,4,5,6,7,8}> { [product] y = MatMul(x, w) }"
    )
    with pytest.raises(ConfigError, match=r"'product' \[MatMul\] does not fit its inputs"):
        load(proto)


# --- hostile models -----------------------------------------------------------------------------------------------


def test_constants_that_would_fill_the_memory_are_not_computed(parse: Callable[..., ModelProto]) -> None:
    proto = parse("""(float[4] x) => (float[4] y) {
        s = Constant<value_ints = [100000, 100000, 1000]>()
        [bomb] c = ConstantOfShape(s)
        t = ReduceSum<keepdims: int = 0>(c)
        y = Add(x, t)
    }""")
    start = time.monotonic()
    assert "bomb" in str(refusal(proto))
    assert time.monotonic() - start < 2


def test_many_constants_that_together_fill_the_memory_are_refused(parse: Callable[..., ModelProto]) -> None:
    proto = parse("(float[4] x) => (float[4] z) { z = Add(x, one) }")
    proto.graph.initializer.append(numpy_helper.from_array(np.array([2000, 5000]), "s"))
    nodes = [helper.make_node("ConstantOfShape", ["s"], [f"c{i}"]) for i in range(100)]
    nodes.append(helper.make_node("Sum", [f"c{i}" for i in range(100)], ["all"]))
    nodes.append(helper.make_node("ReduceSum", ["all"], ["one"], keepdims=0))
    proto.graph.node.extend(nodes)
    assert "too large constants" in str(refusal(proto))


def test_values_that_together_fill_the_memory_are_refused(parse: Callable[..., ModelProto]) -> None:
    body = "s = Constant<value_ints = [10000, 2500, 4]>() v0 = Expand(x, s)"
    proto = parse(f"(float[4] x) => (float[10000,2500,4] v0) {{ {body} }}")
    proto.graph.node.extend(helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(20))
    proto.graph.output[0].name = "v20"
    assert "too many to prove" in str(refusal(proto))


def test_ten_thousand_nodes_take_seconds(parse: Callable[..., ModelProto]) -> None:
    proto = parse("(float[4] x) => (float[4] y) { y = Identity(x) }")
    proto.graph.node[0].input[0] = "v9999"
    chain = [helper.make_node("Relu", [f"v{i}" if i else "x"], [f"v{i + 1}"]) for i in range(9_999)]
    proto.graph.node.extend(chain)
    start = time.monotonic()
    assert load(proto).operators == ("Relu",)
    assert time.monotonic() - start < 20


def test_names_with_control_characters_stay_on_one_line(parse: Callable[..., ModelProto]) -> None:
    proto = parse("(float[4] x) => (float[4] y) { y = Frobnicate(x) }")
    proto.graph.node[0].name = "a\nb\x1b[31m"
    assert "a?b?[31m" in str(refusal(proto))


def test_a_name_too_long_to_be_described_is_a_clean_error(parse: Callable[..., ModelProto]) -> None:
    proto = parse("(float[4] x) => (float[4] y) { y = Relu(x) }")
    proto.graph.node[0].output[0] = proto.graph.output[0].name = "y" * 1000
    with pytest.raises(ConfigError, match="cannot be described"):
        load(proto)


def test_declared_types_of_inner_values_are_not_believed(parse: Callable[..., ModelProto]) -> None:
    proto = parse("(float[1,4] x) => (float[1,4] y) { h = Relu(x) y = Neg(h) }")
    honest = load(proto)
    proto.graph.value_info.append(helper.make_tensor_value_info("h", TensorProto.INT64, [7, 7, 7]))
    assert load(proto) == honest
