"""Single quantised operators against the interpreter's reference kernels: the same integers."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_models import Writer
from tflite_operators import CONV, RANDOM, bias, byte_weights, converted, interpreted, quantised

from balance_core.model import integers

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
    for _ in range(10):  # halves, where the ways of rounding differ, are rare
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
