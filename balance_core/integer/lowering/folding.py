"""Nodes that are constants: whatever depends on no input, or on shapes only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx

from balance_core.integer.facts import MAX_ELEMENTS, Inadmissible

if TYPE_CHECKING:
    from balance_core.integer.lowering.node import Node, Value

FOLDED = frozenset({"Constant", "ConstantOfShape", "Range", "Shape", "Size"})
"""Operators that need no rule: with fixed shapes they are constants."""
UNPREDICTABLE = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"})


def fold(node: Node) -> list[Value | None]:
    """Compute a node whose operands are constants, or whose result depends on their shapes only."""
    from onnx.reference import ReferenceEvaluator

    if node.op in {"Shape", "Size"}:
        shape = np.array(node.shape(0), dtype=np.int64)
        if node.op == "Size":
            return [np.array(int(np.prod(shape)), dtype=np.int64)]
        end = node.attribute("end")
        return [shape[node.integer("start", 0) : None if end is None else int(end)]]
    if node.op in UNPREDICTABLE:
        raise Inadmissible("a random number is no constant")
    _limit_folding(node)
    names = [name for name in node.proto.input if name]
    arrays = [value for value in node.operands if isinstance(value, np.ndarray)]
    infos = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(names, arrays, strict=True)
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.proto.output if name]
    graph = onnx.helper.make_graph([node.proto], "fold", infos, outputs)
    opsets = [onnx.helper.make_opsetid(node.proto.domain, node.opset)]
    model = onnx.helper.make_model(graph, opset_imports=opsets)
    try:
        results = ReferenceEvaluator(model).run(None, dict(zip(names, arrays, strict=True)))
    except Exception as error:
        raise Inadmissible(f"its constant operands cannot be evaluated ({type(error).__name__})") from error
    made = iter(results)
    folded: list[Value | None] = []
    for name in node.proto.output:
        result = next(made) if name else None
        if result is not None and not isinstance(result, (np.ndarray, np.generic)):
            raise Inadmissible("it makes something that is no tensor")
        folded.append(None if result is None else np.asarray(result))
    return folded


def _limit_folding(node: Node) -> None:
    """Refuse operators that would make a huge constant of small ones."""
    size = 0.0
    if node.op in {"ConstantOfShape", "Expand", "Tile"}:
        place = 0 if node.op == "ConstantOfShape" else 1
        size = float(np.prod(np.abs(node.constant(place)).astype(np.float64)))
        size *= 1 if node.op == "ConstantOfShape" else node.constant(0).size
    elif node.op == "Range":
        first, limit, step = (float(node.constant(i).reshape(())) for i in range(3))
        size = abs((limit - first) / step) if step else 0.0
    elif node.op == "OneHot":
        size = float(node.constant(1).reshape(-1)[0]) * node.constant(0).size
    if not size <= MAX_ELEMENTS:
        raise Inadmissible(f"it makes a constant of {size:.3g} elements")
