"""Derive the type of every value and compute those that no input has a part in: one walk in topological order."""

from __future__ import annotations

from collections import deque
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from onnx import NodeProto, OperatorSetIdProto, TensorProto, TypeProto, helper, shape_inference
from onnx.reference import ReferenceEvaluator

from balance_core.errors import ConfigError, UnsupportedModel
from balance_core.model import ml, tensors
from balance_core.model.graph import domain, issue, label, needs, operator, schema
from balance_core.model.passes import branches

if TYPE_CHECKING:
    from balance_core.model.draft import Draft

MAX_FOLDED_BYTES = 2 * 2**30
"""Most bytes that all folded values may take together: a small file must not ask for unbounded memory or time."""
MAX_FOLDED_WORK = 2**32
"""Most multiplications in one folded matrix product."""
MAX_LOOPED_ELEMENTS = 2**20
"""Largest result of an operator that the evaluator computes in a loop of Python."""
SMALL_ELEMENTS = 4096
"""Constants up to this size are shown to shape inference: shapes, axes and indices are."""

_VECTORISED = frozenset(
    "Abs Add And ArgMax ArgMin BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BitShift Cast CastLike Ceil Clip Concat "
    "ConstantOfShape Cos DequantizeLinear Div Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements Greater "
    "GreaterOrEqual Identity IsInf IsNaN Less LessOrEqual Log MatMul Max Mean Min Mod Mul Neg Not Or Pad Pow "
    "QuantizeLinear Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Round Sigmoid "
    "Sign Sin Slice Softmax Split Sqrt Squeeze Sub Sum Tanh Tile Transpose Trilu Unsqueeze Where Xor".split()
)
_LOOPED = frozenset("Compress CumSum GatherND NonZero OneHot ScatterElements ScatterND TopK Unique".split())
_UNBOUNDED_INFERENCE = frozenset({"NonZero", "Compress", "Unique"})
"""Their result's size is not inferred, and is never much larger than their input."""


def fold(draft: Draft) -> None:
    """Fill `draft.types`, turn what is constant into constants, and put the chosen branch in place of an If.

    Raises ConfigError that names the node where types or shapes do not fit, UnsupportedModel when the constants grow
    beyond MAX_FOLDED_BYTES.
    """
    _Fold(draft).run()
    draft.clean()


class _Fold:
    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.types = dict(draft.inputs)
        self.types |= {name: _type(tensor) for name, tensor in draft.constants.items()}
        self.imports = [OperatorSetIdProto(domain=name, version=number) for name, number in draft.versions.items()]
        self.budget = MAX_FOLDED_BYTES

    def run(self) -> None:
        waiting = deque(self.draft.nodes)
        kept: list[NodeProto] = []
        while waiting:
            node = waiting.popleft()
            branch = branches.taken(node, self.draft)
            if branch is not None:
                nodes, constants = branch
                waiting.extendleft(reversed(nodes))
                for name, tensor in constants.items():
                    self._define(name, tensor, node)
                continue
            self._infer(node)
            values = self._evaluate(node)
            if values is None:
                kept.append(node)
                continue
            for name, value in zip(node.output, values, strict=False):
                if name:
                    self._define(name, tensors.of_array(np.asarray(value), name), node)
        self.draft.nodes = kept
        self.draft.types = self.types

    def _define(self, name: str, tensor: TensorProto, node: NodeProto) -> None:
        self.budget -= tensors.nbytes(tensor)
        if self.budget < 0:
            raise UnsupportedModel("its constants do not fit 2 GiB", issues=[issue(node, "the folding ended here")])
        self.draft.constants[name] = tensor
        self.types[name] = _type(tensor)

    def _infer(self, node: NodeProto) -> None:
        definition = schema(node, self.draft.versions)
        if definition is None or any(name not in self.types for name in needs(node)):
            return
        data = {
            name: self.draft.constants[name]
            for name in node.input
            if name in self.draft.constants and prod(self.draft.constants[name].dims) <= SMALL_ELEMENTS
        }
        known = {name: self.types[name] for name in needs(node)}
        try:
            found = shape_inference.infer_node_outputs(definition, node, known, data, opset_imports=self.imports)
        except Exception as error:  # onnx raises many types, RuntimeError and InferenceError among them
            raise ConfigError(
                f"node {label(node)!r} [{operator(node)}] does not fit its inputs: {_first_line(error)}",
                hint="check the shapes that the model was exported with, and --dim NAME=NUMBER",
            ) from error
        self.types |= {name: kind for name, kind in found.items() if name and kind.WhichOneof("value")}
        ml.infer(node, self.types)

    def _shape(self, name: str) -> tuple[int, ...] | None:
        return ml.shape(self.types.get(name))

    def _evaluate(self, node: NodeProto) -> list[np.ndarray] | None:
        """Return the node's outputs where they are constant and it is safe to compute them."""
        if domain(node.domain):
            return None
        if node.op_type in {"Shape", "Size"}:
            sizes = self._shape(node.input[0]) if node.input else None
            if sizes is None:
                return None
            if node.op_type == "Size":
                return [np.array(prod(sizes), dtype=np.int64)]
            ends = {attribute.name: attribute.i for attribute in node.attribute}
            return [np.array(sizes[ends.get("start") : ends.get("end")], dtype=np.int64)]
        if any(name and name not in self.draft.constants for name in node.input) or not self._affordable(node):
            return None
        inputs = {name: self.draft.constants[name] for name in node.input if name}
        if any(tensor.data_type == TensorProto.STRING for tensor in inputs.values()):
            return None
        graph = helper.make_graph(
            [node], "constant", [], [helper.make_empty_tensor_value_info(o) for o in node.output if o]
        )
        model = helper.make_model(graph, opset_imports=self.imports)
        try:
            with np.errstate(all="ignore"):
                values = ReferenceEvaluator(model).run(None, {name: tensors.array(t) for name, t in inputs.items()})
        except Exception:  # noqa: BLE001  # the evaluator lacks some cases: then the node stays, and nothing is lost
            return None
        results = iter(values)
        return [np.asarray(next(results)) if name else np.empty(0) for name in node.output]

    def _affordable(self, node: NodeProto) -> bool:
        looped = node.op_type in _LOOPED
        if not looped and node.op_type not in _VECTORISED:
            return False
        read = [self._shape(name) for name in node.input if name]
        made = [self._shape(name) for name in node.output if name]
        if node.op_type in _UNBOUNDED_INFERENCE:
            made = read
        sizes = [prod(found) for found in made if found is not None]
        if len(sizes) < len(made) or sum(sizes) * 16 > self.budget:
            return False
        if looped and sum(sizes) > MAX_LOOPED_ELEMENTS:
            return False
        inner = read[0][-1] if node.op_type == "MatMul" and read[0] else 1
        return sum(sizes) * inner <= MAX_FOLDED_WORK


def _type(tensor: TensorProto) -> TypeProto:
    return helper.make_tensor_type_proto(tensor.data_type, tuple(tensor.dims))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
