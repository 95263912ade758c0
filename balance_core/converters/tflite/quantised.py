"""A fully quantised TensorFlow Lite model as an integer model: its own integers, by its own arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from balance_core.converters.exact import ExactGraph
from balance_core.converters.exact import Tensor as Integers
from balance_core.converters.tflite import integer_activations, integer_choices, integer_rules
from balance_core.converters.tflite.fold import fold
from balance_core.converters.tflite.integer_rule import RULES, Rule
from balance_core.converters.tflite.movement import FILL, MOVEMENTS, Moving, fitting, indices
from balance_core.errors import NodeIssue, UnsupportedModel
from balance_core.integer.facts import Inadmissible

if TYPE_CHECKING:
    from balance_core.converters.tflite.reader import Graph, Operator, Tensor
    from balance_core.integer.model import IntegerModel

_CONVERSIONS = (integer_rules, integer_choices, integer_activations)
"""The modules that fill RULES, each with the operators of a kind."""
BYTES = {"int8": (-128, 127), "uint8": (0, 255)}
_INTEGERS = {**BYTES, "int32": (-(2**31), 2**31 - 1), "int64": (-(2**31), 2**31 - 1), "bool": (0, 1)}
"""Types of tensors that depend on the input, with their ends (indices of 64 bits are kept within 32)."""
_FLOATS = {"float16", "float32", "float64"}


def is_quantised(graph: Graph) -> bool:
    """Whether some tensor that an operator makes, and that depends on the input, is a quantised byte.

    QUANTIZE of an input and DEQUANTIZE of an output may stand at the ends. Floating-point tensors elsewhere are
    refused by `to_integers`.
    """
    constant = {tensor.place for tensor in graph.tensors if tensor.data is not None}
    for operator in graph.operators:
        if all(i in constant or i < 0 for i in operator.inputs):
            constant.update(operator.outputs)
    made = {i for operator in graph.operators for i in operator.outputs} - constant
    return any(graph.tensors[i].is_quantised and graph.tensors[i].dtype in BYTES for i in made)


def to_integers(graph: Graph) -> IntegerModel:
    """Return the integer model; raises UnsupportedModel with every operator that cannot be taken."""
    return _Conversion(graph).run()


class _Conversion:
    """The state of one conversion: what is known of each tensor of the file."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.exact = ExactGraph()
        self.constants = {tensor.place: tensor.data for tensor in graph.tensors if tensor.data is not None}
        self.values: dict[int, Integers] = {}
        self.issues: list[NodeIssue] = []

    def run(self) -> IntegerModel:
        waiting = {i for i in self.graph.inputs if self.graph.tensors[i].dtype in _FLOATS}
        for i in self.graph.inputs:
            if i not in waiting:
                self._input(i, self.graph.tensors[i])
        ends = set(self.graph.outputs)
        for operator in self.graph.operators:
            self.exact.label = operator.name
            try:
                with fitting():
                    self._operator(operator, waiting, ends)
            except Inadmissible as error:
                self.issues.append(operator.issue(str(error)))
                break
        if self.issues:
            raise UnsupportedModel("the quantised model cannot be taken", issues=self.issues)
        outputs = []
        for i in self.graph.outputs:
            if i not in self.values:
                raise UnsupportedModel(f"output {self.graph.label(i)} does not depend on the input")
            outputs.append((self.graph.label(i), self.values[i], *self._meaning(i)))
        try:
            return self.exact.finish(outputs)
        except Inadmissible as error:
            raise UnsupportedModel(f"the outputs cannot be taken: {error}") from None

    def _meaning(self, i: int) -> tuple[Fraction, int]:
        """Return scale and zero point of a tensor; a dequantised one has those of its source."""
        tensor = self.graph.tensors[i]
        for operator in self.graph.operators:
            if operator.kind == "DEQUANTIZE" and i in operator.outputs:
                tensor = self.graph.tensors[operator.inputs[0]]
        if not tensor.is_quantised:
            return Fraction(1), 0
        return Fraction(tensor.scale), tensor.zero_point

    def _input(self, i: int, tensor: Tensor, name: str | None = None) -> None:
        self.exact.label = name or self.graph.label(i)
        if tensor.dtype not in _INTEGERS:
            raise UnsupportedModel(f"input {self.exact.label} is of type {tensor.dtype}")
        scale, zero_point = (Fraction(tensor.scale), tensor.zero_point) if tensor.is_quantised else (Fraction(1), 0)
        try:
            self.values[i] = self.exact.input(
                self.exact.label, tensor.shape, _INTEGERS[tensor.dtype], scale, zero_point
            )
        except Inadmissible as error:
            raise UnsupportedModel(f"input {self.exact.label}: {error}") from None

    def _operator(self, operator: Operator, waiting: set[int], ends: set[int]) -> None:
        known = fold(self.graph, operator, self.constants)
        if known is not None:
            for i, array in zip(operator.outputs, known, strict=True):
                self._check_shape(i, array.shape)
                self.constants[i] = array
        elif operator.kind == "QUANTIZE" and operator.inputs[0] in waiting:
            target = operator.outputs[0]
            self._input(target, self.graph.tensors[target], self.graph.label(operator.inputs[0]))
        elif operator.kind == "DEQUANTIZE" and set(operator.outputs) <= ends and operator.inputs[0] in self.values:
            self.values[operator.outputs[0]] = self.values[operator.inputs[0]]
        else:
            self._arithmetic(operator)

    def _arithmetic(self, operator: Operator) -> None:
        """Convert an operator on integers; what it makes must stand within its declared type."""
        for i in (*operator.inputs, *operator.outputs):
            if i >= 0 and i not in self.constants and self.graph.tensors[i].dtype not in _INTEGERS:
                raise Inadmissible(f"it works on {self.graph.tensors[i].dtype} in a model of quantised integers")
        if operator.kind in MOVEMENTS and self._only_moves(operator):
            results = self._moved(operator)
        elif operator.kind in RULES:
            results = RULES[operator.kind](Rule(self.exact, self.graph, operator, self.constants, self.values))
        else:
            raise Inadmissible("the operator is not taken in quantised models")
        for i, result in zip(operator.outputs, results, strict=True):
            self._check_shape(i, result.shape)
            lo, hi = _INTEGERS[self.graph.tensors[i].dtype]
            if result.fact.lo < lo or result.fact.hi > hi:
                raise Inadmissible(f"its results may leave {self.graph.tensors[i].dtype}")
            self.values[i] = result

    def _check_shape(self, i: int, shape: tuple[int, ...]) -> None:
        if tuple(shape) != self.graph.tensors[i].shape:
            raise Inadmissible(f"it makes the shape {tuple(shape)} and declares {self.graph.tensors[i].shape}")

    def _only_moves(self, operator: Operator) -> bool:
        """Whether an operator re-indexes: a gather may be one at places that depend on the input, which does not."""
        return operator.kind != "GATHER" or operator.inputs[1] in self.constants

    def _moved(self, operator: Operator) -> list[Integers]:
        tensors = [self.graph.tensors[i] for i in operator.inputs]
        constants = [self.constants.get(i) for i in operator.inputs]
        output_shapes = [self.graph.tensors[i].shape for i in operator.outputs]
        moving = Moving(operator, [tensor.shape for tensor in tensors], constants, output_shapes)
        if operator.options.get("FusedActivationFunction"):
            raise Inadmissible("a fused activation is not taken here")
        data = [tensors[place] for place in moving.data]
        target = self.graph.tensors[operator.outputs[0]]
        for tensor in data:
            if operator.kind == "CONCATENATION" and _quantisation(tensor) != _quantisation(target):
                raise Inadmissible("it joins tensors of different scales")
        rule = Rule(self.exact, self.graph, operator, self.constants, self.values)
        operands = [rule.operand(place) for place in moving.data]
        size = sum(x.fact.size for x in operands)
        results = []
        for index in indices(moving):
            if (index == FILL).any():
                value = rule.constant(2).reshape(-1)[0] if operator.kind == "PADV2" else _zero(target)
                filler = self.exact.constant(np.array([int(value)]))
                results.append(self.exact.wire(np.where(index == FILL, size, index), *operands, filler))
            else:
                results.append(self.exact.wire(index, *operands))
        return results


def _zero(tensor: Tensor) -> int:
    return tensor.zero_point if tensor.is_quantised else 0


def _quantisation(tensor: Tensor) -> tuple[list[float], list[int]]:
    return tensor.scales.tolist(), tensor.zero_points.tolist()
