"""Hostile ONNX graphs are lowered or refused: nothing else, however attributes, operands and weights are damaged."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

from balance_core.errors import BalanceError, UnsupportedModel
from balance_core.integer import execute
from balance_core.integer.lowering.driver import Lowering

MODELS = Path(__file__).parents[1] / "data" / "models"
NETWORK = """<ir_version: 8, opset_import: ["" : 17]> m (float[1,1,8,8] x) => (float[1,3] y) {
    c = Conv <kernel_shape=[3,3], pads=[1,1,1,1], strides=[1,1], dilations=[1,1], group=1> (x, w, b)  r = Relu (c)
    p = MaxPool <kernel_shape=[2,2], strides=[2,2], pads=[0,0,0,0]> (r)  f = Reshape (p, s)
    n = LayerNormalization <axis=-1, epsilon=0.00001> (f, g, h)
    q = Softmax <axis=-1> (n)  t = Transpose <perm=[0,2,1]> (q)
    a = MatMul (t, n)  u = Tanh (a)  k = Slice (u, z, o)  m2 = ReduceMean <axes=[1], keepdims=0> (k)
    y = Gemm <alpha=1.0, beta=1.0, transB=1> (m2, v, d) }"""
NUMBERS = [-1, 0, 1, 2, 7, 1000, 10**9, 2**40, -(2**62)]
OPERATORS = ["ArgMax", "AveragePool", "Cast", "Einsum", "Expand", "Gather", "LSTM", "OneHot", "Pad", "Pow", "Range",
             "ReduceSum", "Resize", "Split", "Tile", "TopK", "TreeEnsemble", "Where"]  # fmt: skip


def originals():
    generator = np.random.Generator(np.random.PCG64(3))
    network = parser.parse_model(NETWORK)
    shapes = {"w": (4, 1, 3, 3), "b": (4,), "g": (16,), "h": (16,), "v": (3, 16), "d": (3,)}
    for name, shape in shapes.items():
        array = generator.normal(size=shape).astype(np.float32)
        network.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    for name, values in {"s": [1, 4, 16], "z": [0], "o": [9]}.items():
        network.graph.initializer.append(onnx.numpy_helper.from_array(np.array(values), name))
    found = [(network, generator.normal(size=(3, 1, 1, 8, 8)).astype(np.float32))]
    for name in ("iris_tree", "cancer_logreg"):
        proto = onnx.load(MODELS / f"{name}.onnx")
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
        with np.load(MODELS / f"{name}.npz") as arrays:
            found.append((proto, arrays["x"][:3, None]))
    return found


def damage(proto, generator):  # noqa: C901 - one case for each kind of damage
    node = proto.graph.node[generator.integers(len(proto.graph.node))]
    weights = proto.graph.initializer
    match int(generator.integers(8)):
        case 0:
            node.op_type = str(generator.choice(OPERATORS))
        case 1 if node.attribute:
            attribute = node.attribute[generator.integers(len(node.attribute))]
            if attribute.ints:
                attribute.ints[generator.integers(len(attribute.ints))] = int(generator.choice(NUMBERS))
            elif attribute.floats:
                number = float(generator.choice([0, np.nan, np.inf, 1e30]))
                attribute.floats[generator.integers(len(attribute.floats))] = number
            elif attribute.type == onnx.AttributeProto.INT:
                attribute.i = int(generator.choice(NUMBERS))
        case 2 if node.input:
            del node.input[generator.integers(len(node.input))]
        case 3:
            node.input.append(weights[generator.integers(len(weights))].name if weights else "nothing")
        case 4 if len(node.input) > 1:
            a, b = generator.integers(len(node.input), size=2)
            node.input[a], node.input[b] = node.input[b], node.input[a]
        case 5 if weights:
            tensor = weights[generator.integers(len(weights))]
            if tensor.dims:
                tensor.dims[generator.integers(len(tensor.dims))] = int(generator.choice([0, 1, 2, 10**6, -1]))
        case 6 if node.attribute:
            del node.attribute[generator.integers(len(node.attribute))]
        case 7 if weights:
            weights[generator.integers(len(weights))].data_type = int(generator.integers(1, 17))


def survive(count: int, start: int) -> int:
    """Lower damaged graphs; return how many were refused."""
    refused = 0
    known = originals()
    for seed in range(start, start + count):
        generator = np.random.Generator(np.random.PCG64(seed))
        original, samples = known[seed % len(known)]
        proto = onnx.ModelProto()
        proto.CopyFrom(original)
        for _ in range(int(generator.integers(1, 4))):
            damage(proto, generator)
        batch = {original.graph.input[0].name: samples}
        begin = time.monotonic()
        try:
            execute(Lowering(proto, batch, 8, 8).run().model, batch)
        except BalanceError:
            refused += 1
        assert time.monotonic() - begin < 20
    return refused


def test_the_undamaged_graphs_are_lowered():
    for proto, samples in originals():
        batch = {proto.graph.input[0].name: samples}
        execute(Lowering(proto, batch, 8, 8).run().model, batch)


def test_damaged_graphs_are_lowered_or_refused():
    assert survive(400, 0) > 200


@pytest.mark.soak
def test_ten_thousand_damaged_graphs_are_lowered_or_refused():
    tracemalloc.start()
    try:
        assert survive(10_000, 10_000) > 5_000
        assert tracemalloc.get_traced_memory()[1] < 2**30
    finally:
        tracemalloc.stop()


HUGE = 2**40
RANGE = "c = Range (a, b, d) y = Gather (x, c)"
POOL = f"y = MaxPool <kernel_shape=[{HUGE}], pads=[{HUGE // 2}, {HUGE // 2}]> (z)"


@pytest.mark.parametrize(
    "body",
    [
        f"s = Constant <value_ints=[{HUGE}]> ()  y = Expand (x, s)",
        f"s = Constant <value_ints=[{HUGE}]> ()  y = Tile (x, s)",
        f"s = Constant <value_ints=[0, {HUGE}]> ()  y = Pad (x, s)",
        f"s = Constant <value_ints=[{HUGE}]> ()  c = ConstantOfShape (s)  y = Add (x, c)",
        f"a = Constant <value_int=0> () b = Constant <value_int={HUGE}> () d = Constant <value_int=1> () {RANGE}",
        f"a = Constant <value_ints=[1,1,1]> () z = Reshape (x, a) {POOL}",
    ],
    ids=["Expand", "Tile", "Pad", "ConstantOfShape", "Range", "MaxPool"],
)
def test_small_graphs_that_ask_for_huge_tensors_are_refused_at_once(body):
    proto = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> m (float[1] x) => (float[1] y) {{ {body} }}'
    )
    tracemalloc.start()
    try:
        with pytest.raises(UnsupportedModel):
            Lowering(proto, {"x": np.ones((2, 1), dtype=np.float32)}, 8, 8).run()
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()
