"""The range that a graph itself declares for an input: that of the Clip which alone reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    Range = tuple[float, float]


def declared(proto: ModelProto, name: str) -> Range | None:
    """Return the least and largest value of the input that the model tells apart, or None when it does not say.

    In the model itself values outside count as the nearest end, so nothing is lost where only these are admitted.
    """
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    found: set[Range] = set()
    for node in proto.graph.node:
        if name not in node.input:
            continue
        bounds = _bounds(node, name)
        if bounds is None:
            return None
        ends = [numpy_helper.to_array(constants[bound]).reshape(-1) for bound in bounds if bound in constants]
        if len(ends) != 2 or any(end.size != 1 or not np.isfinite(end).all() for end in ends) or ends[0] > ends[1]:
            return None
        found.add((ends[0][0].item(), ends[1][0].item()))
    return found.pop() if len(found) == 1 else None


def _bounds(node: NodeProto, name: str) -> tuple[str, str] | None:
    """Return the names of a Clip's bounds."""
    if node.op_type != "Clip" or node.domain not in {"", "ai.onnx"} or len(node.input) != 3 or node.input[0] != name:
        return None
    return node.input[1], node.input[2]
