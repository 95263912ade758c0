"""InstanceNormalization: the one normalisation for which ONNX has no body of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from balance_core.model.expansion.build import Build


def instance_normalization(build: Build) -> None:
    """Scale * (x - mean) / sqrt(variance + epsilon) + bias, over all axes but batch and channel."""
    x, scale, bias = build.node.input
    sizes = build.shape(x)
    axes = list(range(2, len(sizes)))
    column = build.constant([sizes[1], *[1] * len(axes)])
    deviation = build.add("Sub", x, build.reduce("ReduceMean", x, axes, keepdims=True))
    variance = build.reduce("ReduceMean", build.add("Mul", deviation, deviation), axes, keepdims=True)
    epsilon = build.constant(np.asarray(build.given.get("epsilon", 1e-5), dtype=build.dtype(x)))
    spread = build.add("Sqrt", build.add("Add", variance, epsilon))
    scaled = build.add("Mul", build.add("Div", deviation, spread), build.add("Reshape", scale, column))
    build.add("Add", scaled, build.add("Reshape", bias, column), into=build.output(0))
