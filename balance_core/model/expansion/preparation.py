"""The steps of ai.onnx.ml before a model: Scaler, Normalizer, Binarizer, ArrayFeatureExtractor."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from onnx import TensorProto

from balance_core.errors import UnsupportedModel

if TYPE_CHECKING:
    from balance_core.model.expansion.build import Build


def scaler(build: Build) -> None:
    """(x - offset) * scale, by feature or for all."""
    x = _as_float(build)
    features = build.shape(build.node.input[0])[-1]
    offset, scale = build.array("offset"), build.array("scale")
    if {offset.size, scale.size} - {1, features}:
        raise UnsupportedModel(f"it has {offset.size} offsets and {scale.size} scales for {features} features")
    build.add("Mul", build.add("Sub", x, build.floats(offset)), build.floats(scale), into=build.output(0))


def normalizer(build: Build) -> None:
    """X / norm(x) by row, where the norm is the largest number, the sum of sizes (L1) or the length (L2).

    A row whose norm is 0 stays as it is: it is divided by 1.
    """
    x = _as_float(build)
    match build.text("norm", "MAX"):
        case "MAX":
            norm = build.reduce("ReduceMax", x, [-1], keepdims=True)
        case "L1":
            norm = build.reduce("ReduceSum", build.add("Abs", x), [-1], keepdims=True)
        case "L2":
            norm = build.add("Sqrt", build.reduce("ReduceSum", build.add("Mul", x, x), [-1], keepdims=True))
        case other:
            raise UnsupportedModel(f"it has the norm {other}")
    is_zero = build.add("Cast", build.add("Equal", norm, build.floats(0)), to=TensorProto.FLOAT)
    build.add("Div", x, build.add("Add", norm, is_zero), into=build.output(0))


def binarizer(build: Build) -> None:
    """1 where x is above the threshold, else 0."""
    x = build.node.input[0]
    kind = build.draft.types[x].tensor_type.elem_type
    threshold = build.floats(build.given.get("threshold", 0.0))
    above = build.add("Greater", _as_float(build), threshold)
    build.add("Cast", above, to=kind, into=build.output(0))


def array_feature_extractor(build: Build) -> None:
    """The chosen places of the last axis, in two axes at least."""
    x, places = build.node.input
    sizes = build.shape(x)
    count = int(prod(build.shape(places)))
    chosen = build.add("Gather", x, build.add("Reshape", places, build.constant([count])), axis=len(sizes) - 1)
    build.add("Reshape", chosen, build.constant([*(sizes[:-1] or [1]), count]), into=build.output(0))


def _as_float(build: Build) -> str:
    x: str = build.node.input[0]
    if build.draft.types[x].tensor_type.elem_type == TensorProto.FLOAT:
        return x
    return build.add("Cast", x, to=TensorProto.FLOAT)
