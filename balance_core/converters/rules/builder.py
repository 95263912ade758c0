"""Adds nodes of whole numbers to a graph: every value is int64 [N, width]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence


class Builder:
    """A graph while it grows."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self._constants: dict[tuple[bytes, tuple[int, ...]], tuple[str, np.ndarray]] = {}
        self._widths: dict[str, int] = {}

    def constants(self) -> list[TensorProto]:
        """Return the constants used."""
        return [numpy_helper.from_array(array, name) for name, array in self._constants.values()]

    def constant(self, array: np.ndarray) -> str:
        """Return the name of a constant of whole numbers."""
        whole = np.ascontiguousarray(array, dtype=np.int64)
        key = whole.tobytes(), np.shape(array)
        if key not in self._constants:
            self._constants[key] = f"_constant_{len(self._constants)}", whole.reshape(np.shape(array))
        return self._constants[key][0]

    def add(self, op: str, *inputs: str, width: int = 1, **attributes: Any) -> str:
        """Add a node and return its result."""
        name = f"_{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        self._widths[name] = width
        return name

    def output(self, name: str, value: str) -> None:
        """Give a value the name of an output."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=name))

    def width(self, value: str) -> int:
        """Return how many columns a value has."""
        return self._widths[value]

    def join(self, values: Sequence[str]) -> str:
        """Return values side by side."""
        if len(values) == 1:
            return values[0]
        return self.add("Concat", *values, width=sum(map(self.width, values)), axis=1)

    def pick(self, value: str, columns: Sequence[int]) -> str:
        """Return columns of a value, in any order."""
        if list(columns) == list(range(self.width(value))):
            return value
        return self.add("Gather", value, self.constant(np.array(columns)), width=len(columns), axis=1)

    def sums(self, value: str, columns: np.ndarray) -> str:
        """Return [N, m]: for each row of `columns` [m, k] the sum of those columns."""
        picked = self.add("Gather", value, self.constant(columns), axis=1)
        return self.add("ReduceSum", picked, self.constant(np.array([2])), width=len(columns), keepdims=0)

    def matmul(self, facts: str, matrix: np.ndarray) -> str:
        """Return facts times matrix."""
        return self.add("MatMul", facts, self.constant(matrix), width=matrix.shape[1])

    def weighted(self, flags: str, weights: np.ndarray) -> str:
        """Return flags times weights, as products and sums: ezkl's MatMul takes no numbers made of truth values."""
        rows = self.add("Unsqueeze", flags, self.constant(np.array([1])))
        products = self.add("Mul", rows, self.constant(weights.T[np.newaxis]))
        return self.add("ReduceSum", products, self.constant(np.array([2])), width=weights.shape[1], keepdims=0)

    def plus(self, value: str, number: int) -> str:
        """Return value + number."""
        if not number:
            return value
        return self.add("Add", value, self.constant(np.array([[number]])), width=self.width(value))

    def times(self, value: str, factors: np.ndarray) -> str:
        """Return value * factors, column by column."""
        return self.add("Mul", value, self.constant(factors), width=self.width(value))

    def greater(self, value: str, bounds: np.ndarray) -> str:
        """Return 1 where a column is greater than its bound, else 0; one column may have several bounds."""
        above = self.add("Greater", value, self.constant(bounds))
        return self.add("Cast", above, width=max(self.width(value), bounds.shape[1]), to=TensorProto.INT64)

    def opposite(self, value: str) -> str:
        """Return 1 - value."""
        return self.add("Sub", self.constant(np.array([[1]])), value, width=self.width(value))

    def flat(self, value: str) -> str:
        """Return a value of one column as [N]."""
        return self.add("Squeeze", value, self.constant(np.array([1])))
