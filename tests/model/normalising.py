"""What tests of the normal form share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import ModelProto, checker

from balance_core.model import reference
from balance_core.model.normalise import normalise

if TYPE_CHECKING:
    import numpy as np

    from balance_core.model import Model


def batch_for(model: Model, random: np.random.Generator, count: int = 4) -> dict[str, np.ndarray]:
    return {
        spec.name: random.normal(size=(count, *spec.shape)).astype(spec.dtype)
        if spec.dtype.startswith("float")
        else random.integers(0, 2, (count, *spec.shape)).astype(spec.dtype)
        for spec in model.inputs
    }


def check_same_answers(model: Model, random: np.random.Generator, tolerance: float = 1e-5) -> ModelProto:
    """Compare with the original under onnxruntime, check the form, and return it."""
    assert model.original is not None
    batch = batch_for(model, random)
    assert reference.largest_difference(model.original, model.onnx, batch) <= tolerance
    proto = model.proto()
    checker.check_model(proto, full_check=True)
    assert normalise(proto).SerializeToString(deterministic=True) == model.onnx
    assert all(node.name for node in proto.graph.node)
    return proto


def operators(proto: ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def shape_of(proto: ModelProto) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in proto.graph.input[0].type.tensor_type.shape.dim)
