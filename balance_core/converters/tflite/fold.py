"""Operators whose results are known before any input is: shapes, and arithmetic on constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.converters.exact import check_size
from balance_core.converters.tflite.movement import FILL, MOVEMENTS, Moving, indices
from balance_core.integer.facts import Inadmissible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from balance_core.converters.tflite.reader import Graph, Operator

_ARITHMETIC: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "ADD": np.add,
    "DIV": np.divide,
    "FLOOR_DIV": np.floor_divide,
    "FLOOR_MOD": np.mod,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "MUL": np.multiply,
    "SUB": np.subtract,
}


def fold(graph: Graph, operator: Operator, constants: Mapping[int, np.ndarray]) -> list[np.ndarray] | None:
    """Return the results of an operator as far as they are constant, None otherwise; raises Inadmissible.

    Quantised data is never folded here: its arithmetic is the model's own.
    """
    shapes = [graph.tensors[i].shape for i in operator.inputs if i >= 0]
    if operator.kind == "SHAPE":
        return [_typed(graph, operator, np.array(shapes[0], dtype=np.int64))]
    if any(i < 0 or i not in constants for i in operator.inputs):
        return None
    tensors = [graph.tensors[i] for i in (*operator.inputs, *operator.outputs)]
    given = [constants[i] for i in operator.inputs]
    if operator.kind in MOVEMENTS and operator.kind not in {"PAD", "PADV2"}:
        moving = Moving(operator, shapes, given, [graph.tensors[i].shape for i in operator.outputs])
        return moved(moving, given)
    if any(tensor.is_quantised for tensor in tensors):
        return None
    with np.errstate(all="ignore"):
        result = _computed(operator, given)
    if result is not None and result.dtype.kind == "f" and not np.isfinite(result).all():
        raise Inadmissible("its constant result is not finite")
    return None if result is None else [_typed(graph, operator, result)]


def moved(moving: Moving, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Move the elements of constant operands."""
    pool = np.concatenate([arrays[place].reshape(-1) for place in moving.data])
    results = []
    for index in indices(moving):
        if (index == FILL).any():
            raise Inadmissible("constants are not padded")
        results.append(pool[index])
    return results


def _computed(operator: Operator, given: Sequence[np.ndarray]) -> np.ndarray | None:
    """Compute a constant result; None for an operator that is not folded."""
    kind = operator.kind
    if kind in _ARITHMETIC and not operator.options.get("FusedActivationFunction"):
        if kind in {"DIV", "FLOOR_DIV", "FLOOR_MOD"} and (given[1] == 0).any():
            raise Inadmissible("it divides constants by zero")
        check_size(np.broadcast_shapes(given[0].shape, given[1].shape) or (1,))
        return np.asarray(_ARITHMETIC[kind](given[0], given[1]))
    if kind == "REDUCE_PROD" and given[0].dtype.kind in "iu":
        axes = tuple(int(a) for a in given[1].reshape(-1))
        return np.asarray(np.prod(given[0], axis=axes, keepdims=bool(operator.options["KeepDims"])))
    if kind in {"CAST", "DEQUANTIZE"}:
        return given[0]
    return _generated(kind, given)


def _generated(kind: str, given: Sequence[np.ndarray]) -> np.ndarray | None:
    """Compute the result of an operator that makes a tensor out of a few numbers."""
    if kind == "FILL":
        shape = [int(n) for n in given[0].reshape(-1)]
        check_size(shape)
        return np.full(shape, given[1].reshape(-1)[0])
    if kind == "RANGE":
        start, limit, step = (array.reshape(-1)[0] for array in given)
        if step == 0 or abs((float(limit) - float(start)) / float(step)) > 2**20:
            raise Inadmissible("its range is endless")
        return np.arange(start, limit, step)
    if kind == "BROADCAST_ARGS":
        return np.array(np.broadcast_shapes(*(tuple(int(n) for n in array.reshape(-1)) for array in given)))
    return None


def _typed(graph: Graph, operator: Operator, result: np.ndarray) -> np.ndarray:
    return result.astype(graph.tensors[operator.outputs[0]].dtype)
