"""Put the nodes of a branch in place of an If whose condition is constant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import NodeProto, helper

from balance_core.errors import ConfigError
from balance_core.model import tensors
from balance_core.model.graph import domain, label, needs, ordered, subgraphs

if TYPE_CHECKING:
    from onnx import TensorProto

    from balance_core.model.draft import Draft


def taken(node: NodeProto, draft: Draft) -> tuple[list[NodeProto], dict[str, TensorProto]] | None:
    """Return the nodes and constants of the branch that an If takes, under fresh names; None for any other node."""
    if node.op_type != "If" or domain(node.domain) or not node.input:
        return None
    condition = draft.constant(node.input[0])
    if condition is None or condition.size != 1:
        return None
    wanted = "then_branch" if bool(condition.reshape(())) else "else_branch"
    graph = next((attribute.g for attribute in node.attribute if attribute.name == wanted), None)
    if graph is None or len(graph.output) != len(node.output) or graph.input:
        raise ConfigError(f"node {label(node)!r} [If] has no {wanted} with its {len(node.output)} outputs")
    renames: dict[str, str] = {}
    constants: dict[str, TensorProto] = {}
    for tensor in (*graph.initializer, *map(tensors.dense, graph.sparse_initializer)):
        name = renames[tensor.name] = draft.fresh(tensor.name)
        constants[name] = tensor
    for child in graph.node:
        renames |= {name: draft.fresh(name) for name in child.output if name}
    outer = set().union(*map(needs, graph.node)) - {name for child in graph.node for name in child.output}
    nodes = [_renamed(child, renames) for child in ordered(graph.node, outer)]
    for inner, result in zip(graph.output, node.output, strict=True):
        if result:
            nodes.append(helper.make_node("Identity", [renames.get(inner.name, inner.name)], [result]))
    return nodes, constants


def _renamed(node: NodeProto, renames: dict[str, str]) -> NodeProto:
    """Return a copy that reads and writes the new names, inside its own subgraphs too (names never shadow)."""
    copy = NodeProto()
    copy.CopyFrom(node)
    _rename(copy, renames)
    return copy


def _rename(node: NodeProto, renames: dict[str, str]) -> None:
    node.input[:] = [renames.get(name, name) for name in node.input]
    node.output[:] = [renames.get(name, name) for name in node.output]
    for graph in subgraphs(node):
        for value in graph.output:
            value.name = renames.get(value.name, value.name)
        for child in graph.node:
            _rename(child, renames)
