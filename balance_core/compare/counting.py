"""How large a model is: its parameters, and the multiply-adds of one answer, counted in its normal form."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from balance_core.model.ml import attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx import GraphProto, NodeProto

    from balance_core.model import Model

    Shapes = dict[str, tuple[int, ...] | None]

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def parameters(model: Model) -> int:
    """Return how many numbers the model learned: the elements of its constant tensors of floats, or of integers."""
    if model.integer is not None:
        from balance_core.integer.encoding import loads

        weights = loads(model.integer).weights
        return sum(prod(array.shape) for array in weights.values())
    from onnx import TensorProto

    graph = model.proto().graph
    floats = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
    tensors: int = sum(prod(tensor.dims) for tensor in graph.initializer if tensor.data_type in floats)
    trees: int = sum(len(attribute.floats) for node in graph.node if node.domain for attribute in node.attribute)
    return tensors + trees


def macs(model: Model) -> int | None:
    """Return the multiply-adds of one answer; None where a shape is not known.

    Counted are convolutions, matrix products and recurrent layers; what else a graph does costs no products of
    learned numbers. A model without any has none: 0.
    """
    if model.integer is not None:
        from balance_core.integer.encoding import loads
        from balance_core.integer.inspect import summary

        return int(summary(loads(model.integer).structure_only())["macs"])
    import onnx

    graph = onnx.shape_inference.infer_shapes(model.proto()).graph
    shapes = _shapes(graph)
    try:
        return sum(_macs(node, shapes) for node in graph.node)
    except (LookupError, TypeError, ValueError):
        return None


def _shapes(graph: GraphProto) -> Shapes:
    shapes: Shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        known = kind.HasField("shape") and all(axis.HasField("dim_value") for axis in kind.shape.dim)
        shapes[value.name] = tuple(axis.dim_value for axis in kind.shape.dim) if known else None
    return shapes


def _macs(node: NodeProto, shapes: Shapes) -> int:
    """Return a node's multiply-adds; raises LookupError, TypeError or ValueError where a shape is not known."""
    count = _COUNTS.get(node.op_type)
    return 0 if count is None else count(node, [shapes.get(name) or () for name in (*node.input, *node.output)])


def _unknown(node: NodeProto, _: list[tuple[int, ...]]) -> int:
    raise LookupError(node.op_type)


def _known(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape; raises LookupError for one that is not known, as of a scalar."""
    if not shape:
        raise LookupError("shape")
    return shape


def _gemm(node: NodeProto, shapes: list[tuple[int, ...]]) -> int:
    return prod(_known(shapes[-1])) * shapes[0][0 if attributes(node).get("transA") else 1]


def _recurrent(node: NodeProto, shapes: list[tuple[int, ...]]) -> int:
    steps, batch, width = shapes[0]
    directions, _, hidden = shapes[2]
    return steps * batch * directions * _GATES[node.op_type] * hidden * (width + hidden)


_COUNTS: dict[str, Callable[[NodeProto, list[tuple[int, ...]]], int]] = {
    "Conv": lambda node, shapes: prod(_known(shapes[len(node.input)])) * prod(_known(shapes[1])[1:]),
    "ConvTranspose": lambda _, shapes: prod(_known(shapes[0])) * prod(_known(shapes[1])[1:]),
    "Einsum": _unknown,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "If": _unknown,
    "LSTM": _recurrent,
    "LinearClassifier": lambda node, _: len(attributes(node)["coefficients"]),
    "LinearRegressor": lambda node, _: len(attributes(node)["coefficients"]),
    "Loop": _unknown,
    "MatMul": lambda _, shapes: prod(_known(shapes[-1])) * _known(shapes[0])[-1],
    "RNN": _recurrent,
    "Scan": _unknown,
}
"""By operator; the shapes are those of a node's inputs, then of its outputs."""
