from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, external_data_helper, helper, numpy_helper, parser, save

from balance_core.errors import ConfigError, UnsupportedModel
from balance_core.model import identity
from balance_core.model.identity import model_id
from balance_core.model.load import load, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MLP = """
(float[N,4] x) => (float[N,2] y)
<float[4,3] w1 = {1,2,3,4,5,6,7,8,9,10,11,12}, float[3] b1 = {0.5,-0.5,0.25}, float[3,2] w2 = {1,0,0,1,1,1}>
{
    [one] h = Gemm(x, w1, b1)
    [two] r = Relu(h)
    [side] s = Sigmoid(h)
    [sum] t = Add(r, s)
    [three] y = MatMul(t, w2)
}
"""


def copied(proto: ModelProto) -> ModelProto:
    return ModelProto.FromString(proto.SerializeToString())


@pytest.fixture
def mlp(parse: Callable[..., ModelProto]) -> ModelProto:
    return parse(MLP)


def initialiser(proto: ModelProto, name: str) -> TensorProto:
    return next(tensor for tensor in proto.graph.initializer if tensor.name == name)


def node(proto: ModelProto, name: str) -> NodeProto:
    return next(node for node in proto.graph.node if node.name == name)


# --- what leaves no trace ---------------------------------------------------------------------------------------


def rename_everything(proto: ModelProto) -> None:
    proto.graph.name = "other"
    names: dict[str, str] = {"": ""}
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        value.name = names.setdefault(value.name, f"value {len(names)}")
    for place, found in enumerate(proto.graph.node):
        found.name = f"node {place}"
        found.input[:] = [names.setdefault(name, f"value {len(names)}") for name in found.input]
        found.output[:] = [names.setdefault(name, f"value {len(names)}") for name in found.output]
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"


def describe_otherwise(proto: ModelProto) -> None:
    proto.producer_name, proto.producer_version, proto.domain, proto.model_version = "torch", "9", "org.me", 7
    proto.doc_string = proto.graph.doc_string = "words"
    proto.ir_version = 9
    proto.metadata_props.add(key="author", value="me")
    proto.graph.node[0].doc_string = "more words"
    proto.graph.initializer[0].doc_string = "weights"
    proto.graph.value_info.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, [99, 99]))


def reverse_constants(proto: ModelProto) -> None:
    kept = [copied_tensor(tensor) for tensor in proto.graph.initializer]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(reversed(kept))


def copied_tensor(tensor: TensorProto) -> TensorProto:
    return TensorProto.FromString(tensor.SerializeToString())


def swap_independent_nodes(proto: ModelProto) -> None:
    nodes = [NodeProto.FromString(found.SerializeToString()) for found in proto.graph.node]
    nodes[1], nodes[2] = nodes[2], nodes[1]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def encode_raw(proto: ModelProto) -> None:
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))


def make_constants_nodes(proto: ModelProto) -> None:
    for tensor in proto.graph.initializer:
        made = helper.make_node("Constant", [], [tensor.name], value=copied_tensor(tensor))
        proto.graph.node.insert(0, made)
    del proto.graph.initializer[:]


def list_constants_as_inputs(proto: ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    value = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
    proto.graph.input.insert(0, value)


def write_defaults_out(proto: ModelProto) -> None:
    for key, value in {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}.items():
        node(proto, "one").attribute.append(helper.make_attribute(key, value))


def spell_domain_out(proto: ModelProto) -> None:
    proto.graph.node[0].domain = "ai.onnx"
    proto.opset_import.add(domain="ai.onnx", version=17)


def add_dead_parts(proto: ModelProto) -> None:
    proto.graph.node.append(helper.make_node("Exp", ["h"], ["unused"]))
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "unused too"))
    proto.opset_import.add(domain="com.example", version=3)


def omit_inputs_explicitly(proto: ModelProto) -> None:
    node(proto, "three").input.append("")


@pytest.mark.parametrize(
    "change",
    [
        rename_everything,
        describe_otherwise,
        reverse_constants,
        swap_independent_nodes,
        encode_raw,
        make_constants_nodes,
        list_constants_as_inputs,
        write_defaults_out,
        spell_domain_out,
        add_dead_parts,
        omit_inputs_explicitly,
    ],
)
def test_what_only_describes_a_model_does_not_change_its_id(
    mlp: ModelProto, change: Callable[[ModelProto], None]
) -> None:
    changed = copied(mlp)
    change(changed)
    assert changed != mlp
    assert model_id(changed) == model_id(mlp)


def test_weights_in_another_file_do_not_change_the_id(mlp: ModelProto, tmp_path: Path) -> None:
    changed = copied(mlp)
    encode_raw(changed)
    external_data_helper.convert_model_to_external_data(changed, location="weights.bin", size_threshold=0)
    save(changed, tmp_path / "model.onnx")
    assert (tmp_path / "weights.bin").exists()
    assert model_id(read(tmp_path / "model.onnx")) == model_id(mlp)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.int32, np.int64, np.uint64, np.bool_])
def test_every_element_type_has_one_form(
    parse: Callable[..., ModelProto], dtype: type[np.generic], random: np.random.Generator
) -> None:
    array = random.integers(0, 2, (2, 3)).astype(dtype)
    ids = set()
    for make in (
        lambda: numpy_helper.from_array(array, "w"),
        lambda: helper.make_tensor(
            "w", helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, array.ravel().tolist()
        ),
    ):
        proto = parse("(float[2,3] x) => (float[2,3] y) { c = Cast<to: int = 1>(w)  y = Add(x, c) }")
        proto.graph.initializer.append(make())
        ids.add(model_id(proto))
    assert len(ids) == 1


# --- what does ---------------------------------------------------------------------------------------------------


def set_weight(proto: ModelProto, name: str, place: int, value: float) -> None:
    initialiser(proto, name).float_data[place] = value


CHANGES: dict[str, Callable[[ModelProto], object]] = {
    "a weight by one bit": lambda p: set_weight(p, "w1", 0, float(np.nextafter(np.float32(1), np.float32(2)))),
    "the sign of a zero": lambda p: set_weight(p, "w2", 1, -0.0),
    "the shape of weights": lambda p: initialiser(p, "b1").dims.insert(0, 1),
    "the type of weights": lambda p: initialiser(p, "b1").CopyFrom(
        numpy_helper.from_array(np.array([0.5, -0.5, 0.25]), "b1")
    ),
    "an operator": lambda p: setattr(node(p, "two"), "op_type", "Tanh"),
    "a domain": lambda p: (setattr(node(p, "two"), "domain", "x"), p.opset_import.add(domain="x", version=1)),
    "an attribute": lambda p: node(p, "one").attribute.append(helper.make_attribute("alpha", 2.0)),
    "the type of an attribute": lambda p: node(p, "one").attribute.append(helper.make_attribute("alpha", 1)),
    "an edge": lambda p: node(p, "sum").input.__setitem__(0, "s"),
    "the order of operands": lambda p: node(p, "three").input.reverse(),
    "which operand is left out": lambda p: node(p, "one").input.insert(2, ""),
    "a further operand": lambda p: node(p, "two").input.append("w2"),
    "an overload": lambda p: setattr(node(p, "two"), "overload", "other"),
    "the number of outputs": lambda p: node(p, "two").output.append("more"),
    "the output": lambda p: setattr(p.graph.output[0], "name", "t"),
    "a further output": lambda p: p.graph.output.add(name="t"),
    "a further input": lambda p: p.graph.input.append(helper.make_tensor_value_info("z", 1, [1])),
    "an input's shape": lambda p: setattr(p.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 7),
    "an input's type": lambda p: setattr(p.graph.input[0].type.tensor_type, "elem_type", TensorProto.DOUBLE),
    "an output's shape": lambda p: setattr(p.graph.output[0].type.tensor_type.shape.dim[1], "dim_value", 7),
    "whether two dimensions are one": lambda p: setattr(
        p.graph.output[0].type.tensor_type.shape.dim[0], "dim_param", "M"
    ),
    "the opset": lambda p: setattr(p.opset_import[0], "version", 18),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_computes_changes_the_id(mlp: ModelProto, what: str) -> None:
    changed = copied(mlp)
    CHANGES[what](changed)
    assert model_id(changed) != model_id(mlp)


def test_all_changes_give_different_ids(mlp: ModelProto) -> None:
    ids = {model_id(mlp)}
    for change in CHANGES.values():
        changed = copied(mlp)
        change(changed)
        ids.add(model_id(changed))
    assert len(ids) == len(CHANGES) + 1


def test_which_output_of_a_node_is_read_counts(parse: Callable[..., ModelProto]) -> None:
    text = "(float[4] x) => (float[2] y) { a, b = Split<axis: int = 0>(x)  y = Neg(%s) }"
    assert model_id(parse(text % "a")) != model_id(parse(text % "b"))


def test_how_many_outputs_a_split_has_counts(parse: Callable[..., ModelProto]) -> None:
    two = parse("(float[12] x) => (float y) { a, b = Split(x)  y = ReduceSum<keepdims: int = 0>(a) }")
    three = parse("(float[12] x) => (float y) { a, b, c = Split(x)  y = ReduceSum<keepdims: int = 0>(a) }")
    assert model_id(two) != model_id(three)


def test_an_output_that_is_left_out_at_the_end_counts(parse: Callable[..., ModelProto]) -> None:
    plain = parse("(float[12] x) => (float y) { a, b = Split(x)  y = ReduceSum<keepdims: int = 0>(a) }")
    padded = copied(plain)
    padded.graph.node[0].output.append("")
    assert model_id(padded) != model_id(plain)


def test_the_two_inputs_of_a_model_are_not_interchangeable(parse: Callable[..., ModelProto]) -> None:
    text = "(float[4] x, float[4] y) => (float[4] z) { z = Sub(%s) }"
    assert model_id(parse(text % "x, y")) != model_id(parse(text % "y, x"))


def test_branches_and_what_they_capture_count(parse: Callable[..., ModelProto]) -> None:
    text = """(float[4] x, bool c) => (float[4] z) {
        a = Abs(x)
        z = If(c) <then_branch = one () => (float[4] t) { t = Neg(%s) },
                   else_branch = two () => (float[4] e) { e = %s(a) }>
    }"""
    plain = model_id(parse(text % ("a", "Exp")))
    assert model_id(parse(text % ("x", "Exp"))) != plain
    assert model_id(parse(text % ("a", "Log"))) != plain
    assert model_id(parse((text % ("a", "Exp")).replace("t)", "renamed)").replace(" t =", " renamed ="))) == plain


FUNCTION = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
model (float[4] x) => (float[4] y) { y = own.twice <by = %s> (x) }
<domain: "own", opset_import: ["" : %d]> twice <by> (a) => (c) { b = %s(a)  c = Elu <alpha: float = @by> (b) }
"""


def test_what_a_function_does_counts_and_its_name_does_not() -> None:
    def of(by: str = "2.0", opset: int = 17, operator: str = "Abs", name: str = "twice") -> str:
        return model_id(parser.parse_model((FUNCTION % (by, opset, operator)).replace("twice", name)))

    assert of(name="other") == of()
    assert len({of(), of(by="3.0"), of(opset=16), of(operator="Neg")}) == 4


def test_a_constant_that_the_caller_of_a_function_gives_counts() -> None:
    def of(value: str) -> str:
        return model_id(
            parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
            model (float[4] x) => (float[4] y) {{ y = own.plus <by: float = {value}> (x) }}
            <domain: "own", opset_import: ["" : 17]> plus <by> (a) => (c) {{
                b = Constant <value_float: float = @by> ()  c = Add(a, b) }}""")
        )

    assert of("2.0") == of("2.0")
    assert of("2.0") != of("3.0")


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(5)))
def test_no_order_of_nodes_changes_the_id(order: list[int]) -> None:
    proto = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> model {MLP}')
    nodes = [NodeProto.FromString(proto.graph.node[place].SerializeToString()) for place in order]
    shuffled = copied(proto)
    del shuffled.graph.node[:]
    shuffled.graph.node.extend(nodes)
    assert model_id(shuffled) == model_id(proto)


# --- what it must withstand ---------------------------------------------------------------------------------------


def test_a_ladder_of_shared_values_takes_linear_time(parse: Callable[..., ModelProto]) -> None:
    proto = parse("(float[4] x) => (float[4] y) { y = Identity(x) }")
    proto.graph.node[0].input[0] = "v3000"
    steps = [helper.make_node("Add", [f"v{i}" if i else "x"] * 2, [f"v{i + 1}"]) for i in range(3000)]
    proto.graph.node.extend(steps)
    start = time.monotonic()
    model_id(proto)
    assert time.monotonic() - start < 5


MALFORMED = {
    "a cycle": ("cycle", lambda p: node(p, "one").input.__setitem__(0, "t")),
    "a name nothing defines": ("nothing defines", lambda p: node(p, "two").input.__setitem__(0, "nowhere")),
    "a name defined twice": ("defined twice", lambda p: node(p, "two").output.__setitem__(0, "s")),
    "a node that overwrites an input": ("defined twice", lambda p: node(p, "two").output.__setitem__(0, "x")),
    "an output nothing computes": ("nothing computes", lambda p: setattr(p.graph.output[0], "name", "no")),
    "weights cut short": ("other data", lambda p: initialiser(p, "w1").float_data.pop()),
    "weights of two encodings": ("malformed", lambda p: setattr(initialiser(p, "w1"), "raw_data", b"1234")),
    "a negative dimension": ("malformed", lambda p: initialiser(p, "b1").dims.__setitem__(0, -3)),
    "huge weights that are not there": ("other data", lambda p: initialiser(p, "b1").dims.append(2**62)),
    "an attribute twice": (
        "twice",
        lambda p: [node(p, "one").attribute.append(helper.make_attribute("alpha", a)) for a in (1.0, 2.0)],
    ),
    "an attribute of two values": (
        "does not hold",
        lambda p: node(p, "one").attribute.add(name="alpha", type=1, f=1.0, i=2),
    ),
    "an attribute of no type": ("does not hold", lambda p: node(p, "one").attribute.add(name="alpha", f=2.0)),
    "two versions of a domain": ("opsets 17 and 18", lambda p: p.opset_import.add(domain="", version=18)),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_graph_is_a_clean_error(mlp: ModelProto, what: str) -> None:
    words, spoil = MALFORMED[what]
    spoil(mlp)
    with pytest.raises(ConfigError, match=words):
        model_id(mlp)
    with pytest.raises(ConfigError, match=words):
        load(mlp)


def test_a_function_that_calls_itself_is_refused() -> None:
    text = FUNCTION % ("1.0", 17, "Abs")
    proto = parser.parse_model(text)
    proto.functions[0].opset_import.add(domain="own", version=1)
    proto.functions[0].node[0].CopyFrom(helper.make_node("twice", ["a"], ["b"], domain="own"))
    with pytest.raises(ConfigError, match="calls itself"):
        model_id(proto)


def test_a_function_must_not_hide_an_operator() -> None:
    proto = parser.parse_model(FUNCTION % ("1.0", 17, "Abs"))
    proto.functions[0].domain, proto.functions[0].name = "", "Relu"
    with pytest.raises(ConfigError, match="redefines the operator"):
        model_id(proto)


def test_functions_that_grow_without_bound_are_refused() -> None:
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17, "own" : 1]> m (float[4] x) => (float[4] y) { y = own.f0(x) }'
    )
    for level in range(40):
        head = f'<domain: "own", opset_import: ["" : 17, "own" : 1]> f{level} (a) => (c)'
        body = f"{{ b = own.f{level + 1}(a) c = own.f{level + 1}(b) }}"
        proto.functions.append(parser.parse_function(head + body))
    proto.functions.append(
        parser.parse_function('<domain: "own", opset_import: ["" : 17]> f40 (a) => (c) { c = Abs(a) }')
    )
    with pytest.raises(ConfigError, match="inlined"):
        model_id(proto)


def test_graphs_nested_deeper_than_anyone_needs_are_refused(parse: Callable[..., ModelProto]) -> None:
    proto = parse("(float[4] x, bool c) => (float[4] z) { z = Abs(x) }")
    inner = helper.make_graph(
        [helper.make_node("Abs", ["x"], ["r0"])], "g", [], [helper.make_empty_tensor_value_info("r0")]
    )
    for level in range(1, 30):
        made = (
            helper.make_node("If", ["c"], [f"r{level}"], then_branch=inner, else_branch=inner)
            if level < 4
            else (helper.make_node("If", ["c"], [f"r{level}"], then_branch=inner))
        )
        inner = helper.make_graph([made], "g", [], [helper.make_empty_tensor_value_info(f"r{level}")])
    proto.graph.node[0].CopyFrom(helper.make_node("If", ["c"], ["z"], then_branch=inner))
    with pytest.raises(ConfigError, match="nests more than"):
        model_id(proto)


@pytest.mark.parametrize("version", [0, -1, 2**40])
def test_opsets_that_are_no_versions_are_refused(mlp: ModelProto, version: int) -> None:
    mlp.opset_import.add(domain="com.example", version=version)
    with pytest.raises(ConfigError, match="opset"):
        model_id(mlp)


@pytest.mark.parametrize(("version", "words"), [(10, "oldest supported is 11"), (10_000, "newest known")])
def test_opsets_out_of_range_are_refused(mlp: ModelProto, version: int, words: str) -> None:
    mlp.opset_import[0].version = version
    with pytest.raises(UnsupportedModel, match=words):
        model_id(mlp)


def test_no_two_lists_of_parts_share_a_digest() -> None:
    cuts = [(b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"abc", b""), (b"", b"abc")]
    digests = [identity._hash("kind", *parts) for parts in cuts]
    assert all(left != right for left, right in itertools.combinations(digests, 2))


def test_the_id_is_the_same_on_every_machine_and_for_every_version_of_the_libraries(mlp: ModelProto) -> None:
    assert model_id(mlp) == "95a6bfb9011dd2a7e166568d78f1266d8efb76039be6701f8a1f810d4622f5a7"
