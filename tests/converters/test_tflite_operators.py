"""Single operators against the interpreter's reference kernels: the same numbers, with every option that matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from onnx import ModelProto
from tflite_models import Writer

from balance_core.converters.tflite import TFLiteConverter
from balance_core.errors import UnsupportedModel
from balance_core.model import integers, load, reference

if TYPE_CHECKING:
    from pathlib import Path

RANDOM = np.random.default_rng(5)
CONV = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
VALID = 1


def interpreted(data: bytes, inputs: list[np.ndarray], *, reference: bool = True) -> list[np.ndarray]:
    optimised = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    kernels = OpResolverType.BUILTIN_REF if reference else optimised
    try:
        interpreter = Interpreter(model_content=data, experimental_op_resolver_type=kernels)
    except ValueError:  # an operator without a reference kernel
        interpreter = Interpreter(model_content=data, experimental_op_resolver_type=optimised)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]).copy() for detail in interpreter.get_output_details()]


def converted(data: bytes, folder: Path):
    source = folder / "model.tflite"
    source.write_bytes(data)
    return TFLiteConverter().convert(source)


def quantised(w: Writer, shape, scale=0.05, zero_point=3, *, data=None) -> int:
    return w.tensor(shape, "int8", data=data, scale=scale, zero_point=zero_point)


def byte_weights(w: Writer, shape, axis=0, *, per_channel=True) -> int:
    count = shape[axis]
    scale = RANDOM.uniform(0.001, 0.02, count) if per_channel else 0.01
    return w.tensor(
        shape,
        "int8",
        data=RANDOM.integers(-127, 128, shape),
        scale=scale,
        zero_point=np.zeros(count if per_channel else 1, dtype=np.int64),
        axis=axis,
    )


def bias(w: Writer, source: int, weights: int) -> int:
    scales = w.tensors[source]["scale"] * w.tensors[weights]["scale"]
    count = w.tensors[weights]["shape"][w.tensors[weights]["axis"]]
    points = np.zeros(len(scales), dtype=np.int64)
    return w.tensor((count,), "int32", data=RANDOM.integers(-2000, 2000, count), scale=scales, zero_point=points)


# Floating-point operators: name -> how to write one; each returns the writer, its inputs and its outputs.


def unary(kind, shape=(2, 3, 4), options=None, **values):
    def build(w):
        x, y = w.tensor(shape), w.tensor(shape)
        w.operator(kind, [x], [y], options, **values)
        return [x], [y]

    return build


def binary(kind, left=(2, 3, 4), right=(4,), options=None, dtype="float32", **values):
    def build(w):
        x, z = w.tensor(left), w.tensor(right)
        y = w.tensor(np.broadcast_shapes(left, right), dtype)
        w.operator(kind, [x, z], [y], options, **values)
        return [x, z], [y]

    return build


def conv(padding, strides, dilations=(1, 1), *, activation=0, size=(7, 6), groups=1):
    def build(w):
        x, k = (
            w.tensor((2, *size, 4)),
            w.tensor((6, 3, 2, 4 // groups), data=RANDOM.normal(size=(6, 3, 2, 4 // groups))),
        )
        b = w.tensor((6,), data=RANDOM.normal(size=6))
        reach = [2 * dilations[0] + 1, dilations[1] + 1]
        out = [-(-n // s) if padding == 0 else (n - r) // s + 1 for n, r, s in zip(size, reach, strides, strict=True)]
        y = w.tensor((2, *out, 6))
        options = {
            "Padding": padding, "StrideH": strides[0], "StrideW": strides[1], "FusedActivationFunction": activation,
            "DilationHFactor": dilations[0], "DilationWFactor": dilations[1],
        }  # fmt: skip
        w.operator("CONV_2D", [x, k, b], [y], "Conv2DOptions", **options)
        return [x], [y]

    return build


def depthwise(multiplier):
    def build(w):
        x, k = (
            w.tensor((1, 6, 5, 3)),
            w.tensor((1, 3, 3, 3 * multiplier), data=RANDOM.normal(size=(1, 3, 3, 3 * multiplier))),
        )
        b, y = (
            w.tensor((3 * multiplier,), data=RANDOM.normal(size=3 * multiplier)),
            w.tensor((1, 3, 3, 3 * multiplier)),
        )
        options = {**CONV, "StrideH": 2, "StrideW": 2, "DepthMultiplier": multiplier, "FusedActivationFunction": 3}
        w.operator("DEPTHWISE_CONV_2D", [x, k, b], [y], "DepthwiseConv2DOptions", **options)
        return [x], [y]

    return build


def pool(kind, padding, *, size=(5, 6), kernel=(3, 2), strides=(2, 2), activation=0):
    def build(w):
        x = w.tensor((1, *size, 3))
        out = [
            -(-n // s) if padding == 0 else (n - k) // s + 1 for n, k, s in zip(size, kernel, strides, strict=True)
        ]
        y = w.tensor((1, *out, 3))
        w.operator(
            kind, [x], [y], "Pool2DOptions", Padding=padding, StrideH=strides[0], StrideW=strides[1],
            FilterHeight=kernel[0], FilterWidth=kernel[1], FusedActivationFunction=activation,
        )  # fmt: skip
        return [x], [y]

    return build


def with_constants(kind, shape, constants, out, options=None, *, first=True, **values):
    """Write an operator of one input and of constants behind it (or before it)."""

    def build(w):
        x = w.tensor(shape)
        given = [w.tensor(np.shape(c), "int32", data=c) for c in constants]
        results = [w.tensor(o) for o in (out if isinstance(out, list) else [out])]
        w.operator(kind, [x, *given] if first else [*given, x], results, options, **values)
        return [x], results

    return build


def dense(keep):
    def build(w):
        x, k = w.tensor((2, 3, 4)), w.tensor((5, 4), data=RANDOM.normal(size=(5, 4)))
        b, y = w.tensor((5,), data=RANDOM.normal(size=5)), w.tensor((2, 3, 5) if keep else (6, 5))
        w.operator(
            "FULLY_CONNECTED", [x, k, b], [y], "FullyConnectedOptions", KeepNumDims=keep, FusedActivationFunction=1
        )
        return [x], [y]

    return build


def matmul(x_shape, y_shape, out, adj_x, adj_y):
    def build(w):
        x, z, y = w.tensor(x_shape), w.tensor(y_shape), w.tensor(out)
        w.operator("BATCH_MATMUL", [x, z], [y], "BatchMatMulOptions", AdjX=adj_x, AdjY=adj_y)
        return [x, z], [y]

    return build


def joined(kind, count, shape, out, options, **values):
    def build(w):
        given = [w.tensor(shape) for _ in range(count)]
        y = w.tensor(out)
        w.operator(kind, given, [y], options, **values)
        return given, [y]

    return build


def transposed(padding, out):
    def build(w):
        size = w.tensor((4,), "int32", data=[1, *out, 2])
        k, x, y = (
            w.tensor((2, 3, 3, 4), data=RANDOM.normal(size=(2, 3, 3, 4))),
            w.tensor((1, 4, 5, 4)),
            w.tensor((1, *out, 2)),
        )
        w.operator("TRANSPOSE_CONV", [size, k, x], [y], "TransposeConvOptions", Padding=padding, StrideH=2, StrideW=2)
        return [x], [y]

    return build


def shaped(w):
    """A reshape whose target is computed: the shape, sliced, packed with a constant."""
    x = w.tensor((2, 3, 4))
    shape, one, begin, end, step = (
        w.tensor((3,), "int32"), w.tensor((), "int32"), w.tensor((1,), "int32", data=[0]),
        w.tensor((1,), "int32", data=[1]), w.tensor((1,), "int32", data=[1]),
    )  # fmt: skip
    rest, target, y = w.tensor((), "int32", data=12), w.tensor((2,), "int32"), w.tensor((2, 12))
    w.operator("SHAPE", [x], [shape], "ShapeOptions", OutType=2)
    w.operator("STRIDED_SLICE", [shape, begin, end, step], [one], "StridedSliceOptions", ShrinkAxisMask=1)
    w.operator("PACK", [one, rest], [target], "PackOptions", ValuesCount=2, Axis=0)
    w.operator("RESHAPE", [x, target], [y])
    return [x], [y]


def sliced(masks, begin, end, step, out):
    return with_constants("STRIDED_SLICE", (4, 5, 6), [begin, end, step], out, "StridedSliceOptions", **masks)


FLOATS = {
    **{kind: unary(kind) for kind in ("ABS", "COS", "ELU", "EXP", "FLOOR", "HARD_SWISH", "LOGISTIC", "NEG", "RELU")},
    **{kind: unary(kind) for kind in ("RELU6", "RELU_N1_TO_1", "ROUND", "SIGN", "SIN", "SQUARE", "TANH", "CEIL")},
    "GELU": unary("GELU", options="GeluOptions", Approximate=False),
    "GELU tanh": unary("GELU", options="GeluOptions", Approximate=True),
    "LEAKY_RELU": unary("LEAKY_RELU", options="LeakyReluOptions", Alpha=0.3),
    "SOFTMAX": unary("SOFTMAX", (3, 5), "SoftmaxOptions", Beta=0.7),
    "LOG_SOFTMAX": unary("LOG_SOFTMAX", (3, 5)),
    "L2_NORMALIZATION": unary("L2_NORMALIZATION", (3, 5), "L2NormOptions"),
    "ADD relu": binary("ADD", options="AddOptions", FusedActivationFunction=1),
    "SUB relu6": binary("SUB", (2, 1, 4), (2, 3, 1), "SubOptions", FusedActivationFunction=3),
    "MUL tanh-like clip": binary("MUL", options="MulOptions", FusedActivationFunction=2),
    "DIV": binary("DIV", options="DivOptions"),
    "MAXIMUM": binary("MAXIMUM"),
    "MINIMUM": binary("MINIMUM"),
    "SQUARED_DIFFERENCE": binary("SQUARED_DIFFERENCE"),
    "PRELU": binary("PRELU", (1, 3, 3, 4), (1, 1, 4)),
    **{kind: binary(kind, dtype="bool") for kind in ("LESS", "GREATER_EQUAL", "EQUAL", "NOT_EQUAL")},
    "CONV_2D same": conv(0, (2, 2)),
    "CONV_2D valid dilated": conv(1, (1, 1), (2, 3), activation=1),
    "CONV_2D same dilated": conv(0, (1, 1), (2, 2), activation=3),
    "CONV_2D groups": conv(1, (2, 1), groups=2),
    "DEPTHWISE_CONV_2D": depthwise(1),
    "DEPTHWISE_CONV_2D multiplier": depthwise(2),
    "TRANSPOSE_CONV same": transposed(0, (8, 10)),
    "TRANSPOSE_CONV valid": transposed(1, (9, 11)),
    "AVERAGE_POOL_2D same": pool("AVERAGE_POOL_2D", 0),
    "AVERAGE_POOL_2D valid": pool("AVERAGE_POOL_2D", 1, activation=1),
    "MAX_POOL_2D same": pool("MAX_POOL_2D", 0),
    "MAX_POOL_2D valid": pool("MAX_POOL_2D", 1, activation=3),
    "FULLY_CONNECTED": dense(False),
    "FULLY_CONNECTED keep": dense(True),
    "BATCH_MATMUL": matmul((2, 3, 4), (2, 4, 5), (2, 3, 5), False, False),
    "BATCH_MATMUL adjoint": matmul((2, 3, 4), (2, 5, 4), (2, 3, 5), False, True),
    "MEAN": with_constants("MEAN", (2, 3, 4), [[1]], (2, 4), "ReducerOptions"),
    "MEAN keep": with_constants("MEAN", (2, 3, 4), [[-1, 1]], (2, 1, 1), "ReducerOptions", KeepDims=True),
    "SUM": with_constants("SUM", (2, 3, 4), [[0, 2]], (3,), "ReducerOptions"),
    "REDUCE_MAX": with_constants("REDUCE_MAX", (2, 3, 4), [[2]], (2, 3), "ReducerOptions"),
    "REDUCE_MIN": with_constants("REDUCE_MIN", (2, 3, 4), [[0]], (3, 4), "ReducerOptions"),
    "RESHAPE": with_constants("RESHAPE", (2, 3, 4), [[-1, 6]], (4, 6)),
    "SHAPE, STRIDED_SLICE, PACK": shaped,
    "SQUEEZE": with_constants("SQUEEZE", (2, 1, 4), [], (2, 4)),
    "EXPAND_DIMS": with_constants("EXPAND_DIMS", (2, 3), [1], (2, 1, 3)),
    "TRANSPOSE": with_constants("TRANSPOSE", (2, 3, 4), [[2, 0, 1]], (4, 2, 3)),
    "CONCATENATION": joined("CONCATENATION", 3, (2, 3), (2, 9), "ConcatenationOptions", Axis=-1),
    "PACK": joined("PACK", 3, (2, 3), (2, 3, 3), "PackOptions", Axis=1, ValuesCount=3),
    "UNPACK": with_constants("UNPACK", (2, 3, 4), [], [(2, 4)] * 3, "UnpackOptions", Axis=1, Num=3),
    "SPLIT": with_constants("SPLIT", (2, 6), [1], [(2, 2)] * 3, "SplitOptions", first=False, NumSplits=3),
    "SPLIT_V": with_constants(
        "SPLIT_V", (2, 6), [[1, 2, 3], 1], [(2, 1), (2, 2), (2, 3)], "SplitVOptions", NumSplits=3
    ),
    "SLICE": with_constants("SLICE", (4, 5, 6), [[1, 0, 2], [2, -1, 3]], (2, 5, 3)),
    "STRIDED_SLICE steps": sliced({}, [0, 4, 1], [4, 0, 6], [2, -2, 3], (2, 2, 2)),
    "STRIDED_SLICE masks": sliced({"BeginMask": 1, "EndMask": 2}, [9, 1, -3], [3, 0, 99], [1, 2, 1], (3, 2, 3)),
    "STRIDED_SLICE shrink": sliced({"ShrinkAxisMask": 2}, [1, -1, 0], [3, 0, 6], [1, 1, 2], (2, 3)),
    "STRIDED_SLICE new axis": sliced(
        {"NewAxisMask": 1, "EllipsisMask": 2}, [0, 0, 1], [0, 0, 4], [1, 1, 1], (1, 4, 5, 3)
    ),
    "GATHER": with_constants("GATHER", (4, 5, 6), [[3, 0, 3]], (4, 3, 6), "GatherOptions", Axis=1),
    "TILE": with_constants("TILE", (2, 3), [[2, 3]], (4, 9)),
    "BROADCAST_TO": with_constants("BROADCAST_TO", (3, 1), [[2, 3, 4]], (2, 3, 4)),
    "PAD": with_constants("PAD", (2, 3), [[[1, 0], [2, 3]]], (3, 8)),
    "MIRROR_PAD reflect": with_constants(
        "MIRROR_PAD", (3, 4), [[[1, 2], [2, 1]]], (6, 7), "MirrorPadOptions", Mode=0
    ),
    "MIRROR_PAD symmetric": with_constants(
        "MIRROR_PAD", (3, 4), [[[1, 2], [2, 1]]], (6, 7), "MirrorPadOptions", Mode=1
    ),
    "REVERSE_V2": with_constants("REVERSE_V2", (3, 4), [[1]], (3, 4)),
    "SPACE_TO_DEPTH": with_constants(
        "SPACE_TO_DEPTH", (1, 4, 6, 3), [], (1, 2, 3, 12), "SpaceToDepthOptions", BlockSize=2
    ),
    "DEPTH_TO_SPACE": with_constants(
        "DEPTH_TO_SPACE", (1, 2, 3, 12), [], (1, 4, 6, 3), "DepthToSpaceOptions", BlockSize=2
    ),
    "SPACE_TO_BATCH_ND": with_constants("SPACE_TO_BATCH_ND", (1, 3, 4, 2), [[2, 2], [[1, 0], [0, 0]]], (4, 2, 2, 2)),
    "BATCH_TO_SPACE_ND": with_constants("BATCH_TO_SPACE_ND", (4, 2, 2, 2), [[2, 2], [[1, 0], [0, 1]]], (1, 3, 3, 2)),
    "RESIZE_NEAREST_NEIGHBOR": with_constants(
        "RESIZE_NEAREST_NEIGHBOR", (1, 3, 4, 2), [[5, 8]], (1, 5, 8, 2), "ResizeNearestNeighborOptions"
    ),
    "RESIZE_NEAREST_NEIGHBOR corners": with_constants(
        "RESIZE_NEAREST_NEIGHBOR", (1, 3, 4, 2), [[5, 7]], (1, 5, 7, 2), "ResizeNearestNeighborOptions",
        AlignCorners=True,
    ),
    "RESIZE_NEAREST_NEIGHBOR half": with_constants(
        "RESIZE_NEAREST_NEIGHBOR", (1, 3, 4, 2), [[5, 8]], (1, 5, 8, 2), "ResizeNearestNeighborOptions",
        HalfPixelCenters=True,
    ),
    "RESIZE_BILINEAR half": with_constants(
        "RESIZE_BILINEAR", (1, 3, 4, 2), [[5, 8]], (1, 5, 8, 2), "ResizeBilinearOptions", HalfPixelCenters=True
    ),
    "RESIZE_BILINEAR": with_constants(
        "RESIZE_BILINEAR", (1, 3, 4, 2), [[6, 8]], (1, 6, 8, 2), "ResizeBilinearOptions"
    ),
}  # fmt: skip
POSITIVE = {
    "RSQRT": unary("RSQRT"),
    "SQRT": unary("SQRT"),
    "LOG": unary("LOG"),
    "POW": binary("POW"),
}


@pytest.mark.parametrize("name", [*FLOATS, *POSITIVE])
def test_float_operators_mean_what_the_interpreter_computes(name, tmp_path):
    writer = Writer()
    inputs, outputs = {**FLOATS, **POSITIVE}[name](writer)
    data = writer.write(inputs, outputs)
    low = 0.1 if name in POSITIVE else -4.0
    arrays = [RANDOM.uniform(low, 4, writer.tensors[i]["shape"]).astype(np.float32) for i in inputs]
    expected = interpreted(data, arrays)
    proto = converted(data, tmp_path)
    assert isinstance(proto, ModelProto)
    model = load.load(proto, name="case")
    found = reference.run(model.onnx, {f"t{i}": a[None] for i, a in zip(inputs, arrays, strict=True)})
    for i, array in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(found[f"t{i}"][0], array, rtol=2e-5, atol=2e-5)


# Quantised operators: each is written with bytes throughout, and the least difference allowed is stated.


def q_unary(kind, options=None, source=(0.05, 3), target=(0.04, -9), shape=(1, 256), **values):
    def build(w):
        x, y = quantised(w, shape, *source), quantised(w, shape, *target)
        w.operator(kind, [x], [y], options, **values)
        return [x], [y]

    return build


def q_binary(kind, options=None, right=(1, 4, 4, 3), constant=False, target=(0.09, -4), **values):
    def build(w):
        x = quantised(w, (1, 4, 4, 3), 0.05, 3)
        data = RANDOM.integers(-128, 128, right) if constant else None
        z, y = quantised(w, right, 0.031, -7, data=data), quantised(w, (1, 4, 4, 3), *target)
        w.operator(kind, [x, z], [y], options, **values)
        return [x] if constant else [x, z], [y]

    return build


def q_conv(kind="CONV_2D", *, per_channel=True, activation=1, padding=0, strides=(1, 1), out_scale=0.3):
    def build(w):
        x = quantised(w, (1, 6, 5, 3), 0.05, 11)
        deep = kind == "DEPTHWISE_CONV_2D"
        k = byte_weights(w, (1, 3, 3, 6) if deep else (6, 3, 3, 3), 3 if deep else 0, per_channel=per_channel)
        size = [-(-n // s) if padding == 0 else (n - 3) // s + 1 for n, s in zip((6, 5), strides, strict=True)]
        scales = w.tensors[x]["scale"] * w.tensors[k]["scale"]
        points = np.zeros(len(scales), dtype=np.int64)
        b = w.tensor((6,), "int32", data=RANDOM.integers(-2000, 2000, 6), scale=scales, zero_point=points)
        y = quantised(w, (1, *size, 6), out_scale, -20)
        options = {**CONV, "Padding": padding, "StrideH": strides[0], "StrideW": strides[1]}
        options["FusedActivationFunction"] = activation
        if deep:
            options["DepthMultiplier"] = 2
        w.operator(kind, [x, k, b], [y], "DepthwiseConv2DOptions" if deep else "Conv2DOptions", **options)
        return [x], [y]

    return build


def q_dense(*, per_channel=True, keep=False, biased=True):
    def build(w):
        x = quantised(w, (2, 3, 20), 0.05, -30)
        k = byte_weights(w, (7, 20), 0, per_channel=per_channel)
        given = [x, k, bias(w, x, k) if biased else -1]
        y = quantised(w, (2, 3, 7) if keep else (6, 7), 0.2, 5)
        w.operator("FULLY_CONNECTED", given, [y], "FullyConnectedOptions", KeepNumDims=keep)
        return [x], [y]

    return build


def q_pool(kind, padding=0, activation=0):
    def build(w):
        x, y = quantised(w, (1, 5, 5, 3)), quantised(w, (1, 3, 3, 3))
        size = (5, 5) if padding == 0 else None
        assert size is not None
        w.operator(
            kind, [x], [y], "Pool2DOptions", Padding=padding, StrideH=2, StrideW=2, FilterHeight=3, FilterWidth=2,
            FusedActivationFunction=activation,
        )  # fmt: skip
        return [x], [y]

    return build


def q_reduce(kind, axes, out, *, keep=False, same=False, scale=0.04):
    def build(w):
        x, a = quantised(w, (2, 4, 7, 3), 0.05, 3), w.tensor((len(axes),), "int32", data=axes)
        y = quantised(w, out, 0.05 if same else scale, 3 if same else -2)
        w.operator(kind, [x, a], [y], "ReducerOptions", KeepDims=keep)
        return [x], [y]

    return build


def q_matmul(w):
    x, z, y = quantised(w, (2, 3, 4), 0.05, 3), quantised(w, (2, 5, 4), 0.03, -3), quantised(w, (2, 3, 5), 0.1, 1)
    w.operator("BATCH_MATMUL", [x, z], [y], "BatchMatMulOptions", AdjY=True)
    return [x, z], [y]


def q_prelu(w):
    x = quantised(w, (1, 3, 3, 4), 0.05, 3)
    alpha = quantised(w, (1, 1, 4), 0.01, 5, data=RANDOM.integers(-128, 128, (1, 1, 4)))
    y = quantised(w, (1, 3, 3, 4), 0.05, -2)
    w.operator("PRELU", [x, alpha], [y])
    return [x], [y]


def q_softmax(scale, beta=1.0):
    def build(w):
        x, y = quantised(w, (6, 12), scale, 5), quantised(w, (6, 12), 1 / 256, -128)
        w.operator("SOFTMAX", [x], [y], "SoftmaxOptions", Beta=beta)
        return [x], [y]

    return build


def q_move(kind, constants, out, options=None, **values):
    def build(w):
        x, y = quantised(w, (1, 4, 6, 2)), quantised(w, out)
        given = [w.tensor(np.shape(c), "int32", data=c) for c in constants]
        w.operator(kind, [x, *given], [y], options, **values)
        return [x], [y]

    return build


def q_concatenation(w):
    x, z, y = quantised(w, (1, 3)), quantised(w, (1, 4)), quantised(w, (1, 7))
    w.operator("CONCATENATION", [x, z], [y], "ConcatenationOptions", Axis=1)
    return [x, z], [y]


def q_argmax(w):
    x, a, y = quantised(w, (2, 5)), w.tensor((), "int32", data=1), w.tensor((2,), "int32")
    w.operator("ARG_MAX", [x, a], [y], "ArgMaxOptions", OutputType=2)
    middle = quantised(w, (2, 5))
    w.operator("RELU", [x], [middle])
    return [x], [y, middle]


CURVED = {"Logistic": (1 / 256, -128), "Tanh": (1 / 128, 0)}
BYTES = {
    "CONV_2D": (q_conv(), 0),
    "CONV_2D per tensor": (q_conv(per_channel=False, activation=3, padding=1), 0),
    "CONV_2D strides": (q_conv(strides=(2, 2), activation=0), 0),
    "CONV_2D multiplier above 1": (q_conv(out_scale=0.0005, activation=0), 0),
    "DEPTHWISE_CONV_2D": (q_conv("DEPTHWISE_CONV_2D"), 0),
    "DEPTHWISE_CONV_2D strides": (q_conv("DEPTHWISE_CONV_2D", strides=(2, 2), padding=1, activation=3), 0),
    "FULLY_CONNECTED": (q_dense(), 0),
    "FULLY_CONNECTED per tensor": (q_dense(per_channel=False, keep=True), 0),
    "FULLY_CONNECTED without bias": (q_dense(biased=False), 0),
    "BATCH_MATMUL": (q_matmul, 0),
    "ADD": (q_binary("ADD", "AddOptions"), 0),
    "ADD relu": (q_binary("ADD", "AddOptions", FusedActivationFunction=1), 0),
    "ADD constant": (q_binary("ADD", "AddOptions", (3,), constant=True), 0),
    "SUB": (q_binary("SUB", "SubOptions"), 0),
    "MUL": (q_binary("MUL", "MulOptions"), 0),
    "MUL channels": (q_binary("MUL", "MulOptions", (1, 1, 1, 3), FusedActivationFunction=3), 0),
    "AVERAGE_POOL_2D": (q_pool("AVERAGE_POOL_2D"), 0),
    "AVERAGE_POOL_2D relu": (q_pool("AVERAGE_POOL_2D", activation=1), 0),
    "MAX_POOL_2D": (q_pool("MAX_POOL_2D"), 0),
    "MEAN": (q_reduce("MEAN", [1, 2], (2, 3)), 0),
    "MEAN keep": (q_reduce("MEAN", [1, 2], (2, 1, 1, 3), keep=True), 0),
    "MEAN one axis": (q_reduce("MEAN", [3], (2, 4, 7)), 0),
    "SUM": (q_reduce("SUM", [3], (2, 4, 7), scale=0.2), 1),
    "REDUCE_MAX": (q_reduce("REDUCE_MAX", [2], (2, 4, 3), same=True), 0),
    "REDUCE_MIN": (q_reduce("REDUCE_MIN", [1, 2], (2, 3), same=True), 0),
    "LOGISTIC": (q_unary("LOGISTIC", target=CURVED["Logistic"]), 1),
    "TANH": (q_unary("TANH", target=CURVED["Tanh"]), 1),
    "ELU": (q_unary("ELU"), 1),
    "GELU": (q_unary("GELU", "GeluOptions"), 1),
    "HARD_SWISH": (q_unary("HARD_SWISH"), 1),
    "RELU": (q_unary("RELU"), 0),
    "RELU6": (q_unary("RELU6"), 0),
    "RELU_N1_TO_1": (q_unary("RELU_N1_TO_1"), 0),
    "LEAKY_RELU": (q_unary("LEAKY_RELU", "LeakyReluOptions", Alpha=0.17), 0),
    "QUANTIZE": (q_unary("QUANTIZE"), 0),
    "PRELU": (q_prelu, 0),
    "SOFTMAX": (q_softmax(0.06), 1),
    "SOFTMAX beta": (q_softmax(0.3, 0.5), 1),
    "PAD": (q_move("PAD", [[[0, 0], [1, 2], [0, 1], [0, 0]]], (1, 7, 7, 2)), 0),
    "TRANSPOSE": (q_move("TRANSPOSE", [[0, 2, 3, 1]], (1, 6, 2, 4)), 0),
    "STRIDED_SLICE": (
        q_move("STRIDED_SLICE", [[0, 3, 0, 1], [1, 0, 6, 2], [1, -2, 3, 1]], (1, 2, 2, 1), "StridedSliceOptions"), 0,
    ),
    "RESIZE_NEAREST_NEIGHBOR": (
        q_move("RESIZE_NEAREST_NEIGHBOR", [[8, 9]], (1, 8, 9, 2), "ResizeNearestNeighborOptions"), 0,
    ),
    "CONCATENATION": (q_concatenation, 0),
    "ARG_MAX": (q_argmax, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", BYTES)
def test_quantised_operators_are_the_interpreters_integers(name, tmp_path):
    build, allowed = BYTES[name]
    writer = Writer()
    inputs, outputs = build(writer)
    data = writer.write(inputs, outputs)
    arrays = [RANDOM.integers(-128, 128, writer.tensors[i]["shape"]).astype(np.int8) for i in inputs]
    if arrays[0].size == 256:
        arrays[0] = np.arange(-128, 128, dtype=np.int8).reshape(arrays[0].shape)
    # The reference kernel of SUM takes bytes for unsigned ones (its sums are off by multiples of 256).
    expected = interpreted(data, arrays, reference=name != "SUM")
    model = converted(data, tmp_path)
    found = integers.run(model, {f"t{i}": a[None] for i, a in zip(inputs, arrays, strict=True)}).outputs
    for i, array in zip(outputs, expected, strict=True):
        difference = np.abs(found[f"t{i}"][0] - array.astype(np.int64))
        assert difference.max() <= allowed, f"{(difference > allowed).sum()} of {difference.size}"


def test_operators_that_are_not_taken_are_named(tmp_path):
    writer = Writer()
    x, y, z = writer.tensor((2, 3)), writer.tensor((2, 3)), writer.tensor((2, 3))
    writer.operator("CUMSUM", [x, writer.tensor((), "int32", data=1)], [y])
    writer.operator("ZEROS_LIKE", [y], [z])
    with pytest.raises(UnsupportedModel) as refused:
        converted(writer.write([x], [z]), tmp_path)
    assert [issue.node for issue in refused.value.issues] == ["CUMSUM_0", "ZEROS_LIKE_1"]


def test_models_of_both_kinds_of_numbers_are_refused_by_node(tmp_path):
    writer = Writer()
    x, q = writer.tensor((2, 3)), quantised(writer, (2, 3))
    f, y = writer.tensor((2, 3)), writer.tensor((2, 3))
    writer.operator("QUANTIZE", [x], [q])
    writer.operator("DEQUANTIZE", [q], [f])
    writer.operator("EXP", [f], [y])
    with pytest.raises(UnsupportedModel, match="DEQUANTIZE_1"):
        converted(writer.write([x], [y]), tmp_path)


def test_a_shape_that_its_operator_does_not_make_is_refused(tmp_path):
    for shape in ((3, 3), (2, 4)):
        writer = Writer()
        x, y = writer.tensor((2, 3)), writer.tensor(shape)
        writer.operator("RELU", [x], [y])
        with pytest.raises(UnsupportedModel, match="shape"):
            converted(writer.write([x], [y]), tmp_path)
