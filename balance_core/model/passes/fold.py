"""Derive the type of every value and compute those that no input has a part in: one walk in topological order."""

from __future__ import annotations

from collections import deque
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from onnx import NodeProto, OperatorSetIdProto, TensorProto, TypeProto, helper, inliner, shape_inference
from onnx.reference import ReferenceEvaluator

from balance_core.errors import ConfigError
from balance_core.model import ml, tensors
from balance_core.model.graph import domain, has_body, label, needs, operator, printable, schema, subgraphs
from balance_core.model.passes import control
from balance_core.model.passes.budget import Budget
from balance_core.model.passes.guard import Guard

if TYPE_CHECKING:
    from balance_core.model.draft import Draft

MAX_FOLDED_WORK = 2**32
"""Most multiplications in one folded matrix product."""
MAX_LOOPED_ELEMENTS = 2**20
"""Largest result of an operator that the evaluator computes in a loop of Python."""
SMALL_ELEMENTS = 4096
"""Constants up to this size are shown to shape inference: shapes, axes and indices are."""

_VECTORISED = frozenset({
    "Abs", "Add", "And", "ArgMax", "ArgMin", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
    "Cast", "CastLike", "Ceil", "Clip", "Concat", "ConstantOfShape", "Cos", "DequantizeLinear", "Div", "Equal",
    "Erf", "Exp", "Expand", "EyeLike", "Flatten", "Floor", "Gather", "GatherElements", "Greater",
    "GreaterOrEqual", "Identity", "IsInf", "IsNaN", "Less", "LessOrEqual", "Log", "MatMul", "Max", "Mean", "Min",
    "Mod", "Mul", "Neg", "Not", "Or", "Pad", "Pow", "QuantizeLinear", "Range", "Reciprocal", "ReduceMax",
    "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Reshape", "Round", "Sigmoid", "Sign", "Sin",
    "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Trilu",
    "Unsqueeze", "Where", "Xor",
})  # fmt: skip
"""Operators whose constant results are computed; where others read constants only, they stay as they are."""
_LOOPED = frozenset({
    "Compress", "CumSum", "GatherND", "NonZero", "OneHot", "ScatterElements", "ScatterND", "TopK", "Unique",
})  # fmt: skip
_NOT_INFERRED = frozenset({"Compress", "NonZero", "Unique"})
"""The size of their result is not inferred, and is of the order of their input's."""


def fold(draft: Draft) -> None:
    """Fill `draft.types`, turn what is constant into constants, and control flow that is decided into its nodes.

    Raises ConfigError that names the node where types or shapes do not fit, UnsupportedModel for constants that take
    much more memory than the file that asks for them.
    """
    _Fold(draft).run()
    draft.clean()


class _Fold:
    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.types = draft.types
        self.types |= draft.inputs
        self.types |= {name: tensors.type_of(tensor) for name, tensor in draft.constants.items()}
        self.imports = [OperatorSetIdProto(domain=name, version=number) for name, number in draft.versions.items()]
        self.budget = Budget.of(draft)
        self.guard = Guard(draft.versions)

    def run(self) -> None:
        waiting: deque[NodeProto | control.Step] = deque(self.draft.nodes)
        kept: list[NodeProto] = []
        while waiting:
            item = waiting.popleft()
            instead = control.replaced(item, self.draft, self.budget)
            if instead is not None:
                waiting.extendleft(reversed(instead))
                continue
            node = item if isinstance(item, NodeProto) else item.node  # a loop that cannot be unrolled
            constant = tensors.of_constant(node)  # of a body; the others are constants of the draft already
            if constant is not None:
                self._define(node.output[0], constant, node)
                continue
            self._infer(node)
            values = self._evaluated(node)
            if values is None:
                kept.append(node)
            for name, value in (values or {}).items():
                self._define(name, tensors.of_array(value, name), node)
        self.draft.nodes = kept

    def _define(self, name: str, tensor: TensorProto, node: NodeProto) -> None:
        self.budget.spend(tensors.nbytes(tensor), node)
        self.draft.constants[name] = tensor
        self.types[name] = tensors.type_of(tensor)

    def _infer(self, node: NodeProto) -> None:
        definition, read = schema(node, self.draft.versions), needs(node)
        if definition is None or not read <= self.types.keys() or self._is_typed(node) or any(subgraphs(node)):
            return
        first = ml.shape(self.types.get(node.input[0])) if node.input else None
        self.guard.check(node, None if first is None else len(first))
        small = {
            name: self.draft.constants[name]
            for name in node.input
            if name in self.draft.constants and prod(self.draft.constants[name].dims) <= SMALL_ELEMENTS
        }
        known = {name: self.types[name] for name in read}
        try:
            found = shape_inference.infer_node_outputs(definition, node, known, small, opset_imports=self.imports)
        except Exception as error:  # onnx raises RuntimeError, InferenceError, ValidationError and others
            reason = printable((str(error).strip().splitlines() or [type(error).__name__])[0])
            raise ConfigError(
                f"node {label(node)!r} [{printable(operator(node))}] does not fit its inputs: {reason}",
                hint="check the shapes that the model was exported with, and --dim NAME=NUMBER",
            ) from error
        self.types |= {name: kind for name, kind in found.items() if name and kind.WhichOneof("value")}
        ml.infer(node, self.types)
        if has_body(definition) and not self._is_typed(node):  # only its body says what it gives
            self.types |= self._types_by_body(node)

    def _types_by_body(self, node: NodeProto) -> dict[str, TypeProto]:
        """Return the types of the outputs of an operator for which ONNX has a body, and no rule of its own."""
        inputs = [helper.make_value_info(name, self.types[name]) for name in needs(node)]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        model = helper.make_model(helper.make_graph([node], "body", inputs, outputs), opset_imports=self.imports)
        try:
            called = [(node.domain, node.op_type)]
            body = inliner.inline_selected_functions(model, called, inline_schema_functions=True)
            inferred = shape_inference.infer_shapes(body, data_prop=True)
        except Exception:  # noqa: BLE001  # bodies do not take every form of the operator: then its type is not known
            return {}
        return {value.name: value.type for value in inferred.graph.output if ml.shape(value.type) is not None}

    def _is_typed(self, node: NodeProto) -> bool:
        return all(ml.shape(self.types.get(name)) is not None for name in node.output if name)

    def _evaluated(self, node: NodeProto) -> dict[str, np.ndarray] | None:
        """Return the node's outputs by name where they are constant and cheap enough to compute."""
        if domain(node.domain) or not node.input:
            return None
        if node.op_type in {"Shape", "Size"}:
            return self._measured(node)
        constants = self.draft.constants
        if not all(name in constants for name in node.input if name) or not self._is_affordable(node):
            return None
        inputs = {name: tensors.array(constants[name]) for name in node.input if name}
        outputs = [name for name in node.output if name]
        values = [helper.make_empty_tensor_value_info(name) for name in outputs]
        model = helper.make_model(helper.make_graph([node], "constant", [], values), opset_imports=self.imports)
        try:
            with np.errstate(all="ignore"):
                results = ReferenceEvaluator(model).run(None, inputs)
        except Exception:  # noqa: BLE001  # the evaluator lacks some cases: then the node stays, and nothing is lost
            return None
        return dict(zip(outputs, map(np.asarray, results), strict=True))

    def _measured(self, node: NodeProto) -> dict[str, np.ndarray] | None:
        """Return the result of Shape or Size where the shape is known."""
        sizes = ml.shape(self.types.get(node.input[0]))
        if sizes is None:
            return None
        if node.op_type == "Size":
            return {node.output[0]: np.array(prod(sizes), dtype=np.int64)}
        given = ml.attributes(node)
        return {node.output[0]: np.array(sizes[given.get("start") : given.get("end")], dtype=np.int64)}

    def _is_affordable(self, node: NodeProto) -> bool:
        """Return whether computing the node takes bounded memory and time, by the shapes that were inferred."""
        looped = node.op_type in _LOOPED
        kinds = [self.types.get(name) for name in node.input if name]
        if not (looped or node.op_type in _VECTORISED) or any(kind is None for kind in kinds):
            return False
        if any(kind.tensor_type.elem_type == TensorProto.STRING for kind in kinds if kind is not None):
            return False
        read = [ml.shape(kind) for kind in kinds]
        made = [ml.shape(self.types.get(name)) for name in node.output if name]
        sizes = [prod(found) for found in (read if node.op_type in _NOT_INFERRED else made) if found is not None]
        if len(sizes) < len(made) or (looped and sum(sizes) > MAX_LOOPED_ELEMENTS):
            return False
        if sum(sizes) > self.budget.size:  # in elements, of at least one byte
            self.budget.spend(sum(sizes), node)
        inner = read[0][-1] if node.op_type == "MatMul" and read[0] else 1
        return sum(sizes) * inner <= MAX_FOLDED_WORK
