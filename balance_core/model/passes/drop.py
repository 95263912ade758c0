"""Drop nodes that change nothing: Identity, Dropout outside training, a Cast to the same type, ZipMap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import helper

from balance_core.model.graph import domain
from balance_core.model.ml import DOMAIN, attributes

if TYPE_CHECKING:
    from onnx import NodeProto

    from balance_core.model.draft import Draft


def maps(draft: Draft) -> None:
    """Let each ZipMap pass its scores on as the tensor that they are, in the order of the classes."""
    draft.nodes = [
        _identity(node)
        if node.op_type == "ZipMap" and domain(node.domain) == DOMAIN and len(node.input) == len(node.output) == 1
        else node
        for node in draft.nodes
    ]


def idle(draft: Draft) -> None:
    """Drop the nodes whose output is their first input; an input or constant that is an output keeps an Identity."""
    renames: dict[str, str] = {}
    kept = []
    for node in draft.nodes:
        node.input[:] = [renames.get(name, name) for name in node.input]
        if not _is_idle(node, draft):
            kept.append(node)
        elif node.output[0] in draft.outputs:
            kept.append(_identity(node))
        else:
            renames[node.output[0]] = node.input[0]
    draft.nodes = kept
    _name_after_outputs(draft)
    draft.clean()


def _identity(node: NodeProto) -> NodeProto:
    return helper.make_node("Identity", node.input[:1], node.output[:1], name=node.name)


def _is_idle(node: NodeProto, draft: Draft) -> bool:
    if domain(node.domain) or not node.input or not node.output or not node.output[0]:
        return False
    match node.op_type:
        case "Identity":
            return True
        case "Dropout":
            sizes = draft.shape(node.input[0])
            if is_training(node, draft) or sizes is None:
                return False
            if len(node.output) > 1 and node.output[1]:  # the mask says that nothing was dropped
                draft.define(node.output[1], np.ones(sizes, dtype=np.bool_))
            return True
        case "Cast":
            kind = draft.types.get(node.input[0])
            return kind is not None and kind.tensor_type.elem_type == attributes(node).get("to")
    return False


def is_training(node: NodeProto, draft: Draft) -> bool:
    """Return whether the node behaves as in training, or may do so: its switch is not constant."""
    if node.op_type != "Dropout" or domain(node.domain):
        return not domain(node.domain) and bool(attributes(node).get("training_mode"))
    switch = node.input[2] if len(node.input) > 2 else ""
    training = draft.constant(switch)
    return bool(switch) and (training is None or bool(training.any()))


def _name_after_outputs(draft: Draft) -> None:
    """Where an Identity only gives a computed value the name of an output, let its producer write that name."""
    computed = {name for node in draft.nodes if node.op_type != "Identity" for name in node.output}
    renames: dict[str, str] = {}
    kept = []
    for node in draft.nodes:
        source = node.input[0] if node.op_type == "Identity" and not domain(node.domain) else ""
        if source and source in computed and source not in draft.outputs and source not in renames:
            renames[source] = node.output[0]
            draft.types.pop(source, None)
        else:
            kept.append(node)
    for node in kept:
        node.input[:] = [renames.get(name, name) for name in node.input]
        node.output[:] = [renames.get(name, name) for name in node.output]
    draft.nodes = kept
