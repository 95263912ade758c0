"""A floating-point TensorFlow Lite model as an ONNX graph; weights that are stored as integers are dequantised."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper, shape_inference

from balance_core.converters.tflite.float_rules import RULES, FloatRule
from balance_core.converters.tflite.fold import fold
from balance_core.converters.tflite.movement import MOVEMENTS, fitting
from balance_core.errors import NodeIssue, UnsupportedModel
from balance_core.integer.facts import Inadmissible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.converters.tflite.reader import Graph, Operator

OPSET = 20
IR_VERSION = 9
"""The version of ONNX's file format that goes with opset 20."""


def to_onnx(graph: Graph) -> ModelProto:
    """Return the ONNX graph; raises UnsupportedModel with every operator that cannot be taken.

    Values keep the layout that they have in the file (channels last); nodes are called after the operators that they
    come from.
    """
    return _Conversion(graph).run()


class FloatGraph:
    """An ONNX graph while it is written."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: dict[str, np.ndarray] = {}
        self.label = ""
        self.channels_first: dict[str, str] = {}
        """For values that were just brought into the file's layout, the value before that."""
        self._count = 0

    def node(self, operator: str, inputs: Sequence[str], *, output: str | None = None, **attributes: Any) -> str:
        """Add a node of one output and return its name."""
        self._count += 1
        result = output or f"{self.label}/{operator.lower()}_{self._count}"
        name = f"{self.label}/{operator}_{self._count}"
        self.nodes.append(helper.make_node(operator, list(inputs), [result], name=name, **attributes))
        return result

    def constant(self, array: np.ndarray) -> str:
        """Add a constant and return its name; equal ones are kept once."""
        array = np.ascontiguousarray(array)
        digest = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        key = f"constant_{array.dtype}_{'x'.join(map(str, array.shape))}_{digest}"
        self.initializers[key] = array
        return key

    def ints(self, *values: int) -> str:
        """Add a vector of 64-bit integers."""
        return self.constant(np.array(values, dtype=np.int64))

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """Give another shape."""
        return self.node("Reshape", [x, self.ints(*shape)])

    def transpose(self, x: str, order: Sequence[int]) -> str:
        """Permute the axes."""
        return self.node("Transpose", [x], perm=list(order))


class _Conversion:
    """The state of one conversion."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.onnx = FloatGraph()
        self.constants = {tensor.place: tensor.data for tensor in graph.tensors if tensor.data is not None}
        self.names: dict[int, str] = {}

    def run(self) -> ModelProto:
        self._refuse()
        for i in self.graph.inputs:
            self.names[i] = self.graph.label(i)
        for operator in self.graph.operators:
            self.onnx.label = operator.name
            try:
                with fitting():
                    self._operator(operator)
            except Inadmissible as error:
                raise UnsupportedModel("the model cannot be taken", issues=[operator.issue(str(error))]) from None
        outputs = [self._output(i) for i in self.graph.outputs]
        return self._checked(outputs)

    def _refuse(self) -> None:
        """Raise UnsupportedModel with every operator of a kind that is not taken."""
        issues = [
            operator.issue("the operator is not taken")
            for operator in self.graph.operators
            if operator.kind not in RULES and operator.kind not in MOVEMENTS and operator.kind not in _FOLDED
        ]
        made = {i for operator in self.graph.operators for i in operator.outputs}
        for operator in self.graph.operators:
            tensors = [self.graph.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
            if any(t.is_quantised and (t.place in made or t.place in self.graph.inputs) for t in tensors):
                reason = "it works on quantised integers in a model of floating-point numbers"
                issues.append(operator.issue(reason, "quantise the whole model, or none of it"))
        if issues:
            raise UnsupportedModel("the model cannot be taken", issues=issues)

    def _operator(self, operator: Operator) -> None:
        known = fold(self.graph, operator, self.constants)
        if known is None and operator.kind == "DEQUANTIZE" and operator.inputs[0] in self.constants:
            known = [self.graph.tensors[operator.inputs[0]].reals()]
        if known is not None:
            for i, array in zip(operator.outputs, known, strict=True):
                if array.shape != self.graph.tensors[i].shape:
                    raise Inadmissible(f"it makes the shape {array.shape} and declares {self.graph.tensors[i].shape}")
                self.constants[i] = array
            return
        if operator.kind not in RULES and operator.kind not in MOVEMENTS:
            raise Inadmissible("the operator is not taken here: its operands are not constant")
        rule = FloatRule(self.onnx, self.graph, operator, self.constants, self.names)
        for i, name in zip(operator.outputs, rule.convert(), strict=True):
            self.names[i] = name

    def _output(self, i: int) -> Any:
        label, tensor = self.graph.label(i), self.graph.tensors[i]
        if i not in self.names or i in self.graph.inputs:
            raise UnsupportedModel(f"output {label} is not computed from the input")
        self.onnx.label = "output"
        self.onnx.node("Identity", [self.names[i]], output=label)
        return helper.make_tensor_value_info(label, ELEMENT_TYPES[tensor.dtype], tensor.shape)

    def _checked(self, outputs: list[Any]) -> ModelProto:
        """Assemble the graph, and make sure that ONNX sees the very shapes that the file declares."""
        inputs = [
            helper.make_tensor_value_info(self.names[i], ELEMENT_TYPES[tensor.dtype], tensor.shape)
            for i, tensor in ((i, self.graph.tensors[i]) for i in self.graph.inputs)
        ]
        used = {name for node in self.onnx.nodes for name in node.input}
        weights = [
            numpy_helper.from_array(array, name) for name, array in self.onnx.initializers.items() if name in used
        ]
        graph = helper.make_graph(self.onnx.nodes, "tflite", inputs, outputs, weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="balance"
        )
        self._check_shapes(model)
        return model

    def _check_shapes(self, model: ModelProto) -> None:
        try:
            inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        except Exception as error:  # onnx raises its own types, one for each way to fail
            reason = " ".join(str(error).split())[:200]
            raise UnsupportedModel(f"the model's shapes and types contradict each other: {reason}") from error
        known = {info.name: info.type.tensor_type for info in inferred.graph.value_info}
        for i, name in self.names.items():
            tensor = self.graph.tensors[i]
            if name not in known or i in self.graph.inputs:
                continue
            shape = tuple(dim.dim_value for dim in known[name].shape.dim)
            if shape != tensor.shape or known[name].elem_type != ELEMENT_TYPES[tensor.dtype]:
                issue = NodeIssue(
                    name, "tensor", f"it is of shape {shape} and declares {tensor.shape} of {tensor.dtype}"
                )
                raise UnsupportedModel("the file declares other shapes than its operators make", issues=[issue])


_FOLDED = {"SHAPE", "DEQUANTIZE", "FILL", "RANGE", "BROADCAST_ARGS", "REDUCE_PROD", "FLOOR_DIV", "FLOOR_MOD"}
"""Operators that are only taken where their operands are constant."""
ELEMENT_TYPES = {
    "bool": TensorProto.BOOL,
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
}
