"""Copies of graphs that stand inside nodes, to be put in place of the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import NodeProto

from balance_core.model import tensors
from balance_core.model.graph import needs, ordered, subgraphs

if TYPE_CHECKING:
    from onnx import GraphProto

    from balance_core.model.draft import Draft
    from balance_core.model.passes.budget import Budget


class Body:
    """A graph inside a node. Its constants become constants of the draft once, however often it is copied."""

    def __init__(self, node: NodeProto, graph: GraphProto, draft: Draft, budget: Budget) -> None:
        self.graph = graph
        self.draft = draft
        self.inputs = [value.name for value in graph.input]
        made = {name for child in graph.node for name in child.output}
        outer = set().union(*map(needs, graph.node)) - made
        self._nodes = ordered(graph.node, outer)
        self._constants: dict[str, str] = {}
        for tensor in (*graph.initializer, *map(tensors.dense, graph.sparse_initializer)):
            budget.spend(tensors.nbytes(tensor), node)
            self._constants[tensor.name] = draft.define(draft.fresh(tensor.name), tensors.array(tensor))

    def copy(self, *values: str) -> tuple[list[NodeProto], list[str]]:
        """Return the nodes under fresh names, reading `values` as the graph's inputs, and its outputs' names."""
        names = self._constants | dict(zip(self.inputs, values, strict=True))
        for child in self._nodes:
            names |= {name: self.draft.fresh(name) for name in child.output if name}
        nodes = []
        for child in self._nodes:
            nodes.append(NodeProto())
            nodes[-1].CopyFrom(child)
            _rename(nodes[-1], names)
        return nodes, [names.get(value.name, value.name) for value in self.graph.output]


def _rename(node: NodeProto, names: dict[str, str]) -> None:
    """Let the node read and write the new names, inside its own subgraphs too: names never shadow one another."""
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]
    for graph in subgraphs(node):
        for value in graph.output:
            value.name = names.get(value.name, value.name)
        for child in graph.node:
            _rename(child, names)
