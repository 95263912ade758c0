"""Write out what an operator leaves to be worked out: the type of a CastLike, the sizes that a Reshape implies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import helper

from balance_core.model.graph import domain

if TYPE_CHECKING:
    from onnx import NodeProto

    from balance_core.model.draft import Draft


def write_out(draft: Draft) -> None:
    """Make each CastLike a Cast, and the shape that a Reshape is given the one that it makes; types must be known."""
    draft.nodes = [_cast(node, draft) if node.op_type == "CastLike" else node for node in draft.nodes]
    for node in draft.nodes:
        if node.op_type == "Reshape" and not domain(node.domain):
            _reshape(node, draft)
    draft.clean()


def _cast(node: NodeProto, draft: Draft) -> NodeProto:
    kind = draft.types.get(node.input[1]) if len(node.input) == 2 else None
    if domain(node.domain) or kind is None or not kind.tensor_type.elem_type:
        return node
    return helper.make_node("Cast", node.input[:1], node.output, name=node.name, to=kind.tensor_type.elem_type)


def _reshape(node: NodeProto, draft: Draft) -> None:
    """Replace sizes of 0 (as it was) and -1 (what is left over) by what they stand for."""
    sizes = draft.shape(node.output[0])
    given = draft.constant(node.input[1])
    if sizes is not None and 0 not in sizes and (given is None or given.tolist() != list(sizes)):
        node.input[1] = draft.define(draft.fresh(f"{node.output[0]}_shape"), np.array(sizes, dtype=np.int64))
