from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from balance_core.errors import ConfigError, UnsupportedModel
from balance_core.model import reference
from balance_core.model.load import load

if TYPE_CHECKING:
    from collections.abc import Callable


from tests.model.normalising import check_same_answers, operators, shape_of

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
