"""The options of the operators that are taken: the schema's table, its scalar fields and their defaults."""

from __future__ import annotations

from typing import Any

_ACTIVATION = {"FusedActivationFunction": 0}
_STRIDES = {"Padding": 0, "StrideW": 0, "StrideH": 0}
_DILATION = {"DilationWFactor": 1, "DilationHFactor": 1}
_POOL = ("Pool2DOptions", {**_STRIDES, "FilterWidth": 0, "FilterHeight": 0, **_ACTIVATION})
_REDUCE: tuple[str, dict[str, Any]] = ("ReducerOptions", {"KeepDims": False})
_SLICE = ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask")

OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "ADD": ("AddOptions", _ACTIVATION),
    "AVERAGE_POOL_2D": _POOL,
    "BATCH_MATMUL": ("BatchMatMulOptions", {"AdjX": False, "AdjY": False}),
    "CONCATENATION": ("ConcatenationOptions", {"Axis": 0, **_ACTIVATION}),
    "CONV_2D": ("Conv2DOptions", {**_STRIDES, **_DILATION, **_ACTIVATION}),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", {**_STRIDES, "DepthMultiplier": 0, **_DILATION, **_ACTIVATION}),
    "DEPTH_TO_SPACE": ("DepthToSpaceOptions", {"BlockSize": 0}),
    "DIV": ("DivOptions", _ACTIVATION),
    "FULLY_CONNECTED": ("FullyConnectedOptions", {**_ACTIVATION, "WeightsFormat": 0, "KeepNumDims": False}),
    "GATHER": ("GatherOptions", {"Axis": 0, "BatchDims": 0}),
    "GELU": ("GeluOptions", {"Approximate": False}),
    "L2_NORMALIZATION": ("L2NormOptions", _ACTIVATION),
    "LEAKY_RELU": ("LeakyReluOptions", {"Alpha": 0.0}),
    "MAX_POOL_2D": _POOL,
    "MEAN": _REDUCE,
    "MIRROR_PAD": ("MirrorPadOptions", {"Mode": 0}),
    "MUL": ("MulOptions", _ACTIVATION),
    "ONE_HOT": ("OneHotOptions", {"Axis": 0}),
    "PACK": ("PackOptions", {"ValuesCount": 0, "Axis": 0}),
    "REDUCE_MAX": _REDUCE,
    "REDUCE_MIN": _REDUCE,
    "REDUCE_PROD": _REDUCE,
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", {"AlignCorners": False, "HalfPixelCenters": False}),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", {"AlignCorners": False, "HalfPixelCenters": False}),
    "SOFTMAX": ("SoftmaxOptions", {"Beta": 0.0}),
    "SPACE_TO_DEPTH": ("SpaceToDepthOptions", {"BlockSize": 0}),
    "SPLIT": ("SplitOptions", {"NumSplits": 0}),
    "SPLIT_V": ("SplitVOptions", {"NumSplits": 0}),
    "STRIDED_SLICE": ("StridedSliceOptions", {**dict.fromkeys(_SLICE, 0), "Offset": False}),
    "SUB": ("SubOptions", _ACTIVATION),
    "SUM": _REDUCE,
    "TRANSPOSE_CONV": ("TransposeConvOptions", {**_STRIDES, **_ACTIVATION}),
    "UNPACK": ("UnpackOptions", {"Num": 0, "Axis": 0}),
    "VAR_HANDLE": ("VarHandleOptions", {"SharedName": None}),
}
"""The defaults are those of the schema."""
