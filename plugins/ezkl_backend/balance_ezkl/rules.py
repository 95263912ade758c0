"""Which nodes ezkl proves as ONNX means them.

ezkl does not refuse everything that it computes otherwise: MaxPool pads with zeros, CumSum ignores `exclusive`,
OneHot its values. Each rule below is of something that was seen to come out wrong, or to fail without a name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper, shape_inference

from balance_core.model.graph import label, operator
from balance_core.stages import NodeProblem
from balance_ezkl.operators import KEEPS_SIGN, MENDS, NEVER_NEGATIVE, SUPPORTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx import ModelProto, NodeProto


class Wrong(NamedTuple):
    """Why a node is not proven as ONNX means it, and what would mend that."""

    reason: str
    mend: str | None = None


class Facts:
    """What the rules ask about a graph: attributes, constants, types, and who makes a value."""

    def __init__(self, proto: ModelProto) -> None:
        self.constants = {tensor.name: tensor for tensor in proto.graph.initializer}
        self.makers = {name: node for node in proto.graph.node for name in node.output}
        graph = shape_inference.infer_shapes(proto).graph
        values = (*graph.input, *graph.value_info, *graph.output)
        self.types = {value.name: value.type.tensor_type for value in values}

    def constant(self, name: str) -> np.ndarray | None:
        """Return the value of a constant, or None for one that is computed or absent."""
        tensor = self.constants.get(name)
        return None if tensor is None else np.asarray(numpy_helper.to_array(tensor))

    def element_type(self, name: str) -> int:
        """Return the element type of a value, as TensorProto numbers it."""
        tensor = self.constants.get(name)
        return int(tensor.data_type if tensor is not None else self.types[name].elem_type)

    def is_float(self, name: str) -> bool:
        """Say whether a value's elements are floating-point numbers."""
        return self.element_type(name) in {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}

    def rank(self, name: str) -> int:
        """Return a value's number of axes."""
        tensor = self.constants.get(name)
        return len(tensor.dims) if tensor is not None else len(self.types[name].shape.dim)

    def is_never_negative(self, name: str) -> bool:
        """Say whether a value is known not to be negative, by the operators that it comes through."""
        while (node := self.makers.get(name)) is not None:
            if node.op_type in NEVER_NEGATIVE:
                return True
            if node.op_type == "Clip" and len(node.input) > 1 and node.input[1]:
                low = self.constant(node.input[1])
                return low is not None and bool(low.min() >= 0)
            if node.op_type not in KEEPS_SIGN:
                return False
            name = node.input[0]
        return False


def problems(proto: ModelProto) -> list[NodeProblem]:
    """Return every node that ezkl lacks or computes otherwise than ONNX means it."""
    facts = Facts(proto)
    found = []
    for node in proto.graph.node:
        wrong = _judge(node, facts)
        if wrong is not None:
            found.append(NodeProblem(node=label(node), operator=operator(node), reason=wrong.reason, mend=wrong.mend))
    return found


def _judge(node: NodeProto, facts: Facts) -> Wrong | None:
    if node.domain not in {"", "ai.onnx"} or node.op_type not in SUPPORTED:
        return Wrong("ezkl does not prove this operator", MENDS.get(node.op_type))
    rule = _RULES.get(node.op_type)
    return rule(node, facts) if rule is not None else None


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    found = next((attribute for attribute in node.attribute if attribute.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def _pool(node: NodeProto, facts: Facts) -> Wrong | None:
    if _attribute(node, "ceil_mode", 0):
        return Wrong("ezkl rounds the size of the result down", "set ceil_mode to 0 and pad instead")
    if any(step != 1 for step in _attribute(node, "dilations", [])):
        return Wrong("ezkl ignores its dilations", "use dilations of 1")
    if not any(_attribute(node, "pads", [])):
        return None
    if node.op_type == "MaxPool" and not facts.is_never_negative(node.input[0]):
        return Wrong(
            "ezkl pads with zeros, which win against negative values", "pool after a Relu, or without padding"
        )
    if node.op_type == "AveragePool" and not _attribute(node, "count_include_pad", 0):
        return Wrong("ezkl counts the padding into the average", "set count_include_pad to 1, or do not pad")
    return None


def _convolution(node: NodeProto, facts: Facts) -> Wrong | None:
    del facts
    if any(step != 1 for step in _attribute(node, "dilations", [])):
        return Wrong("ezkl takes no dilations", "write zeros between the weights of the kernel")
    if node.op_type == "ConvTranspose" and _attribute(node, "group", 1) != 1:
        return Wrong("ezkl takes one group only", "split it into one node for each group")
    return None


def _recurrent(node: NodeProto, facts: Facts) -> Wrong | None:
    del facts
    if _attribute(node, "direction", b"forward") != b"forward":
        return Wrong(
            "ezkl runs it forward whatever its direction", "reverse the sequence with Slice, and run it forward"
        )
    if _attribute(node, "layout", 0) or _attribute(node, "clip", 0):
        return Wrong("ezkl takes neither `layout` nor `clip`", "leave these attributes out")
    if len(node.input) > 4 and node.input[4]:
        return Wrong("ezkl takes whole sequences only", "leave sequence_lens out")
    return None


def _cast(node: NodeProto, facts: Facts) -> Wrong | None:
    to = _attribute(node, "to", 0)
    if to in {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}:
        return None
    if facts.is_float(node.input[0]):
        return Wrong("ezkl rounds otherwise when it makes whole numbers", "end the model before the Cast")
    if to == TensorProto.BOOL and facts.element_type(node.input[0]) != TensorProto.BOOL:
        return Wrong("ezkl keeps the number", "compare with 0 by Less and Greater")
    return None


def _equal(node: NodeProto, facts: Facts) -> Wrong | None:
    if facts.is_float(node.input[0]):
        return Wrong(
            "ezkl answers 1 in the smallest unit in place of 1", "compare whole numbers, or use Less and Greater"
        )
    return None


def _divide(node: NodeProto, facts: Facts) -> Wrong | None:
    if not facts.is_float(node.input[0]):
        return Wrong("ezkl does not divide whole numbers", "cast to float first")
    return None


def _power(node: NodeProto, facts: Facts) -> Wrong | None:
    exponent = facts.constant(node.input[1])
    if exponent is None or exponent.size != 1:
        return Wrong("ezkl takes one constant exponent", "write the power as products")
    if exponent.item() == int(exponent.item()) and exponent.item() < 1:
        return Wrong("ezkl takes whole exponents from 1 up", "divide by the positive power")
    return None


def _resize(node: NodeProto, facts: Facts) -> Wrong | None:
    ways = {(b"asymmetric", b"floor"), (b"half_pixel", b"round_prefer_floor")}
    way = (
        _attribute(node, "coordinate_transformation_mode", b"half_pixel"),
        _attribute(node, "nearest_mode", b"round_prefer_floor"),
    )
    scales = facts.constant(node.input[2]) if len(node.input) > 2 else None
    if _attribute(node, "mode", b"nearest") != b"nearest" or way not in ways:
        return Wrong("ezkl repeats entries and does not interpolate", "use mode=nearest, asymmetric and floor")
    if scales is None or scales.size == 0 or (scales < 1).any() or (scales != np.rint(scales)).any():
        return Wrong("ezkl enlarges by constant whole factors only", "give such scales, or shrink with AveragePool")
    return None


def _one_hot(node: NodeProto, facts: Facts) -> Wrong | None:
    values = facts.constant(node.input[2])
    if values is None or values.tolist() != [0, 1]:
        return Wrong("ezkl writes 0 and 1 whatever the values", "use 0 and 1, and scale the result")
    return None


def _sum_up(node: NodeProto, facts: Facts) -> Wrong | None:
    del facts
    if _attribute(node, "exclusive", 0) or _attribute(node, "reverse", 0):
        return Wrong("ezkl ignores `exclusive` and `reverse`", "subtract the input, or turn it with Slice")
    return None


def _pad(node: NodeProto, facts: Facts) -> Wrong | None:
    pads = facts.constant(node.input[1])
    value = facts.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    if _attribute(node, "mode", b"constant") != b"constant" or value is None or value.any():
        return Wrong("ezkl pads with zeros only", "use mode=constant with the value 0")
    if pads is None or (pads < 0).any():
        return Wrong("ezkl takes constant pads from 0 up", "cut with Slice")
    return None


def _expand(node: NodeProto, facts: Facts) -> Wrong | None:
    shape = facts.constant(node.input[1])
    if shape is None or shape.size != facts.rank(node.input[0]):
        return Wrong("ezkl mixes up the entries when axes are added", "add the axes with Unsqueeze first")
    return None


def _first_of_ties(node: NodeProto, facts: Facts) -> Wrong | None:
    del facts
    if _attribute(node, "select_last_index", 0):
        return Wrong("ezkl takes the first of equal entries", "set select_last_index to 0")
    return None


def _celu(node: NodeProto, facts: Facts) -> Wrong | None:
    del facts
    if _attribute(node, "alpha", 1.0) != 1.0:
        return Wrong("ezkl takes it with alpha=1 only", "use Elu, or alpha=1")
    return None


def _largest(node: NodeProto, facts: Facts) -> Wrong | None:
    if any((value := facts.constant(name)) is not None and value.size > 1 for name in node.input):
        return Wrong("ezkl takes no constant of several entries here", "write max(a, c) as -min(-a, -c)")
    return None


_RULES: dict[str, Callable[[NodeProto, Facts], Wrong | None]] = {
    "ArgMax": _first_of_ties,
    "ArgMin": _first_of_ties,
    "AveragePool": _pool,
    "Cast": _cast,
    "Celu": _celu,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "CumSum": _sum_up,
    "Div": _divide,
    "Equal": _equal,
    "Expand": _expand,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "Max": _largest,
    "MaxPool": _pool,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Pow": _power,
    "RNN": _recurrent,
    "Resize": _resize,
}
