"""Single operators against the interpreter's reference kernels: the same numbers, with every option that matters."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto
from tflite_models import Writer
from tflite_operators import CONV, RANDOM, converted, interpreted, quantised

from balance_core.errors import UnsupportedModel
from balance_core.model import load, reference

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
