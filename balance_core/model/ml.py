"""Types that ONNX's own shape inference leaves open for operators of ai.onnx.ml."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from onnx import TensorProto, TypeProto, helper

from balance_core.model.graph import domain

if TYPE_CHECKING:
    from onnx import NodeProto

DOMAIN = "ai.onnx.ml"
_SAME_SHAPE = frozenset({"Binarizer", "Imputer", "Normalizer", "Scaler"})


def attributes(node: NodeProto) -> dict[str, Any]:
    """Return the node's attributes as Python values: strings as bytes, tensors and graphs as protos."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def shape(kind: TypeProto | None) -> tuple[int, ...] | None:
    """Return the shape of a tensor type whose every dimension is known, else None."""
    if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    dimensions = kind.tensor_type.shape.dim
    if not all(dimension.HasField("dim_value") and dimension.dim_value >= 0 for dimension in dimensions):
        return None
    return tuple(dimension.dim_value for dimension in dimensions)


def infer(node: NodeProto, types: dict[str, TypeProto]) -> None:
    """Complete the types of the node's outputs, where the operator's definition says what they are."""
    if domain(node.domain) != DOMAIN or not node.input or not node.output:
        return
    read = types.get(node.input[0])
    sizes = shape(read)
    if read is None or not sizes:
        return
    given = attributes(node)
    rows = sizes[0] if len(sizes) > 1 else 1
    if node.op_type in _SAME_SHAPE:
        element = read.tensor_type.elem_type if node.op_type in {"Binarizer", "Imputer"} else TensorProto.FLOAT
        types[node.output[0]] = helper.make_tensor_type_proto(element, sizes)
    elif node.op_type == "TreeEnsembleClassifier" and len(node.output) == 2:
        classes = given.get("classlabels_int64s") or given.get("classlabels_strings") or []
        label = TensorProto.STRING if given.get("classlabels_strings") else TensorProto.INT64
        types[node.output[0]] = helper.make_tensor_type_proto(label, (rows,))
        types[node.output[1]] = helper.make_tensor_type_proto(TensorProto.FLOAT, (rows, len(classes)))
    elif node.op_type == "TreeEnsembleRegressor":
        types[node.output[0]] = helper.make_tensor_type_proto(TensorProto.FLOAT, (rows, given.get("n_targets", 1)))
    elif node.op_type == "ArrayFeatureExtractor" and len(node.input) == 2:
        places = shape(types.get(node.input[1]))
        if places is not None:
            element = read.tensor_type.elem_type
            types[node.output[0]] = helper.make_tensor_type_proto(element, (*(sizes[:-1] or (1,)), prod(places)))
    elif node.op_type == "LinearRegressor":
        types[node.output[0]] = helper.make_tensor_type_proto(TensorProto.FLOAT, (rows, given.get("targets", 1)))
    elif node.op_type == "SVMRegressor":
        types[node.output[0]] = helper.make_tensor_type_proto(TensorProto.FLOAT, (rows, 1))
