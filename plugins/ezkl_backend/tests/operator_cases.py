"""Small graphs of one operator each: some that ezkl proves as ONNX means them, some that it must not be given."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto, helper

from .workshop import graph

RANDOM = np.random.default_rng(5)
ROW = RANDOM.normal(0, 1, (1, 8))
POSITIVE = RANDOM.random((1, 8)) + 0.5
BLOCK = RANDOM.normal(0, 1, (1, 3, 4))
IMAGE = RANDOM.normal(0, 1, (1, 2, 6, 6))
TYPES = {"f": TensorProto.FLOAT, "b": TensorProto.BOOL, "i": TensorProto.INT64}


@dataclass(frozen=True)
class Case:
    """One operator with its inputs, constants and attributes."""

    operator: str
    inputs: tuple[np.ndarray, ...]
    constants: tuple[np.ndarray, ...] = ()
    attributes: dict = field(default_factory=dict)
    output: int = TensorProto.FLOAT
    outputs: tuple[str, ...] = ("y",)
    before: str | None = None
    """An operator that the first input passes through."""

    def __str__(self):
        shown = "-".join(f"{name}{value}" for name, value in self.attributes.items())
        return f"{self.operator}-{self.before or ''}{shown}".replace(" ", "")[:60]

    def model(self):
        names = [f"x{index}" for index in range(len(self.inputs))]
        constants = {f"c{index}": array for index, array in enumerate(self.constants)}
        first = names[:1] if self.before is None else ["h"]
        nodes = [] if self.before is None else [helper.make_node(self.before, ["x0"], ["h"], name="before")]
        given = [*first, *names[1:], *constants]
        if self.operator == "Resize":
            given = ["x0", "", "c0"]
        nodes.append(helper.make_node(self.operator, given, self.outputs, name="the_node", **self.attributes))
        inputs = {
            name: (TYPES[array.dtype.kind], array.shape) for name, array in zip(names, self.inputs, strict=True)
        }
        last = self.outputs[-1]
        return graph(nodes, inputs, {last: (self.output, self.shape())}, constants)

    def shape(self):
        import onnx

        names = [f"x{index}" for index in range(len(self.inputs))]
        constants = {f"c{index}": array for index, array in enumerate(self.constants)}
        given = ["x0", "", "c0"] if self.operator == "Resize" else [*names, *constants]
        node = helper.make_node(self.operator, given, self.outputs, **self.attributes)
        inputs = {
            name: (TYPES[array.dtype.kind], array.shape) for name, array in zip(names, self.inputs, strict=True)
        }
        bare = graph([node], inputs, {}, constants)
        bare.graph.output.append(helper.make_empty_tensor_value_info(self.outputs[-1]))
        found = onnx.shape_inference.infer_shapes(bare, data_prop=True).graph.output[0]
        return tuple(extent.dim_value for extent in found.type.tensor_type.shape.dim)


def ints(*values):
    return np.array(values, dtype=np.int64)


def pooled(**more):
    return {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 0, 0], **more}


def convolved(**more):
    standard = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1], "group": 1}
    return {**standard, **more}


KERNEL = RANDOM.normal(0, 1, (3, 2, 3, 3))
RECURRENT = (RANDOM.normal(0, 0.3, (1, 20, 4)), RANDOM.normal(0, 0.3, (1, 20, 5)), RANDOM.normal(0, 0.3, (1, 40)))
STEPS = RANDOM.normal(0, 1, (3, 1, 4))
TWO = np.array(2.0)
NOTHING = np.zeros(0)
BOOL, INT = TensorProto.BOOL, TensorProto.INT64

RIGHT = [
    *(
        Case(operator, (ROW,))
        for operator in ("Abs", "Neg", "Relu", "Sigmoid", "Tanh", "Exp", "Erf", "Sign", "Round")
    ),
    *(
        Case(operator, (ROW,))
        for operator in ("Floor", "Ceil", "Softplus", "Elu", "Selu", "LeakyRelu", "HardSigmoid")
    ),
    *(Case(operator, (POSITIVE,)) for operator in ("Log", "Sqrt", "Reciprocal")),
    *(Case(operator, (ROW, POSITIVE)) for operator in ("Add", "Sub", "Mul", "Div", "Min", "Max")),
    *(Case(operator, (ROW, ROW[:, ::-1].copy()), output=BOOL) for operator in ("Less", "GreaterOrEqual")),
    Case("Softmax", (BLOCK,), attributes={"axis": -1}),
    Case("Pow", (ROW,), (np.array(3.0),)),
    Case("Clip", (ROW,), (np.array(-0.5), np.array(0.5))),
    Case("MatMul", (BLOCK, RANDOM.normal(0, 1, (1, 4, 5)))),
    Case("Gemm", (ROW,), (RANDOM.normal(0, 1, (3, 8)), np.ones(3)), {"transB": 1, "alpha": 0.5}),
    Case("ReduceMean", (BLOCK,), attributes={"axes": [2], "keepdims": 0}),
    Case("ReduceMax", (BLOCK,), attributes={"axes": [1, 2], "keepdims": 1}),
    Case("ArgMax", (BLOCK,), attributes={"axis": 2, "keepdims": 0}, output=INT),
    Case("Conv", (IMAGE,), (KERNEL, np.ones(3)), convolved()),
    Case("Conv", (IMAGE,), (KERNEL,), convolved(strides=[2, 2], pads=[0, 1, 2, 1])),
    Case(
        "ConvTranspose", (IMAGE,), (RANDOM.normal(0, 1, (2, 1, 2, 2)),), convolved(kernel_shape=[2, 2], pads=[0] * 4)
    ),
    Case("MaxPool", (IMAGE,), attributes=pooled()),
    Case("MaxPool", (IMAGE,), attributes=pooled(kernel_shape=[3, 3], pads=[1, 1, 1, 1]), before="Relu"),
    Case("AveragePool", (IMAGE,), attributes=pooled()),
    Case("AveragePool", (IMAGE,), attributes=pooled(pads=[1, 1, 1, 1], count_include_pad=1)),
    Case("Concat", (ROW, ROW * 2), attributes={"axis": 1}),
    Case("Slice", (ROW,), (ints(-1), ints(-9), ints(1), ints(-1))),
    Case("Pad", (ROW,), (ints(0, 1, 0, 2),), {"mode": "constant"}),
    Case("Expand", (ROW,), (ints(3, 8),)),
    Case("Gather", (BLOCK,), (ints(0, 2),), {"axis": 1}),
    Case("Transpose", (BLOCK,), attributes={"perm": [0, 2, 1]}),
    Case("Resize", (IMAGE,), (np.array([1, 1, 3, 3], dtype=np.float32),), {"mode": "nearest"}),
    Case("CumSum", (ROW,), (np.array(1),)),
    Case("OneHot", (ints(1, 0, 2),), (np.array(3), np.array([0.0, 1.0]))),
    Case("Equal", (ints(1, 2, 3),), (ints(1, 0, 3),), output=BOOL),
    Case("LSTM", (STEPS,), RECURRENT, {"hidden_size": 5}, outputs=("", "y")),
]
"""Answered as onnxruntime answers."""

WRONG = [
    Case("MaxPool", (IMAGE,), attributes=pooled(kernel_shape=[3, 3], pads=[1, 1, 1, 1])),
    Case("AveragePool", (IMAGE,), attributes=pooled(kernel_shape=[3, 3], pads=[1, 1, 1, 1])),
    Case("Cast", (ROW * 3,), attributes={"to": INT}, output=INT),
    Case("Cast", (ints(4, 0, -3),), attributes={"to": BOOL}, output=BOOL),
    Case("Celu", (ROW,), attributes={"alpha": 2.0}),
    Case("CumSum", (ROW,), (np.array(1),), {"exclusive": 1}),
    Case("Equal", (np.round(ROW),), (np.zeros((1, 8)),), output=BOOL),
    Case("Expand", (RANDOM.normal(0, 1, (3, 1)),), (ints(2, 3, 4),)),
    Case("LSTM", (STEPS,), RECURRENT, {"hidden_size": 5, "direction": "reverse"}, outputs=("", "y")),
    Case("OneHot", (ints(1, 0, 2),), (np.array(3), np.array([-1.0, 2.0]))),
    Case("Pow", (POSITIVE,), (np.array(-1.0),)),
    Case(
        "Resize",
        (IMAGE,),
        (np.array([1, 1, 2, 2], dtype=np.float32),),
        {"mode": "nearest", "nearest_mode": "floor"},
    ),
]
"""ezkl takes these, and answers otherwise than ONNX means it; without the rules nobody would notice."""

LACKING = [
    Case("ArgMax", (BLOCK,), attributes={"axis": 2, "select_last_index": 1}, output=INT),
    Case("Conv", (IMAGE,), (KERNEL,), convolved(dilations=[2, 2])),
    Case("ConvTranspose", (IMAGE,), (RANDOM.normal(0, 1, (2, 1, 2, 2)),), convolved(kernel_shape=[2, 2], group=2)),
    Case("Div", (ints(7, -7),), (ints(2, 2),), output=INT),
    Case("LogSoftmax", (ROW,)),
    Case("Max", (ROW,), (np.zeros((1, 8)),)),
    Case("MaxPool", (IMAGE,), attributes=pooled(kernel_shape=[4, 4], strides=[3, 3], ceil_mode=1)),
    Case("Mod", (ROW,), (TWO,), {"fmod": 1}),
    Case("Pad", (IMAGE,), (ints(0, 0, 1, 1, 0, 0, 1, 1),), {"mode": "reflect"}),
    Case("Pad", (ROW,), (ints(0, 1, 0, 2), np.array(1.5)), {"mode": "constant"}),
    Case("Pow", (POSITIVE, POSITIVE)),
    Case("ScatterND", (ROW,), (ints(0, 2, 0, 4).reshape(2, 2), np.array([1.0, 2.0]))),
    Case("Tile", (ROW,), (ints(1, 2),)),
]
"""ezkl fails on these, mostly without saying which node it was, or answers them with numbers without meaning."""
