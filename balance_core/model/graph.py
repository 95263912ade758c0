"""Reading ONNX graphs: names, operators, opset versions, order, and what is wrong with a graph's wiring.

Everything here takes graphs from strangers: duplicates, cycles and dangling names become one-line errors.
"""

from __future__ import annotations

import heapq
from functools import cache
from typing import TYPE_CHECKING, Any

from onnx import AttributeProto, GraphProto, NodeProto, defs

from balance_core.errors import ConfigError, NodeIssue, UnsupportedModel

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from onnx import OperatorSetIdProto

OLDEST_OPSET = 11
"""The oldest version of the default domain that is read."""
DEEPEST_NESTING = 24
"""How many graphs may stand inside one another: protobuf itself reads no more than 33."""


def domain(name: str) -> str:
    """Return the one spelling of a domain: `ai.onnx` is the default domain, written as the empty string."""
    return "" if name == "ai.onnx" else name


def operator(node: NodeProto) -> str:
    """Return `Gemm` for an operator of the default domain, `ai.onnx.ml::Scaler` for one of another."""
    return f"{domain(node.domain)}::{node.op_type}" if domain(node.domain) else node.op_type


def label(node: NodeProto) -> str:
    """Return what people know the node by: its name, or else the first value that it computes."""
    return printable(node.name or next((name for name in node.output if name), "") or f"unnamed {node.op_type}")


def printable(text: str) -> str:
    """Return a stranger's text as at most 200 signs that can be shown on one line."""
    return "".join(sign if sign.isprintable() else "?" for sign in text[:200])


def quoted(text: str) -> str:
    """Return a stranger's text in quotes, on one line."""
    return repr(printable(text))


def issue(node: NodeProto, reason: str, mend: str | None = None) -> NodeIssue:
    """Name a node in an UnsupportedModel error."""
    return NodeIssue(label(node), printable(operator(node)), reason, mend)


def opsets(imports: Iterable[OperatorSetIdProto]) -> dict[str, int]:
    """Return the version of each imported domain; the same import written twice is tolerated.

    Raises ConfigError for two versions of one domain and for numbers that are none, UnsupportedModel for a default
    domain that is too old, or one newer than the installed onnx package knows.
    """
    versions: dict[str, int] = {}
    for entry in imports:
        name = domain(entry.domain)
        if not 0 < entry.version < 2**31:
            raise ConfigError(f"the model imports opset {entry.version} of {quoted(name or 'ai.onnx')}")
        if versions.setdefault(name, entry.version) != entry.version:
            raise ConfigError(
                f"the model imports opsets {versions[name]} and {entry.version} of {quoted(name or 'ai.onnx')}",
                hint="export the model again with one opset version",
            )
    for name, version in versions.items():
        newest = newest_opset(name)
        if newest is not None and version > newest:
            raise UnsupportedModel(
                f"the model imports opset {version} of {name or 'ai.onnx'}, and the newest known is {newest}",
                hint=f"export it with opset {newest} or older, or upgrade the onnx package",
            )
    if versions.get("", OLDEST_OPSET) < OLDEST_OPSET:
        raise UnsupportedModel(
            f"the model imports opset {versions['']}, and the oldest supported is {OLDEST_OPSET}",
            hint=f"export it with opset {OLDEST_OPSET} or newer",
        )
    return versions


@cache
def newest_opset(name: str) -> int | None:
    """Return the newest version of a domain that the installed onnx package knows, None for a foreign domain."""
    if not name:
        return int(defs.onnx_opset_version())
    history = defs.get_all_schemas_with_history()
    return max((int(found.since_version) for found in history if found.domain == name), default=None)


def schema(node: NodeProto, versions: Mapping[str, int]) -> defs.OpSchema | None:
    """Return the operator's definition at the imported version, None where there is none."""
    name = domain(node.domain)
    if name not in versions:
        return None
    try:
        found = defs.get_schema(node.op_type, versions[name], name)
    except defs.SchemaError:
        return None
    return None if found.deprecated else found


def has_body(definition: Any) -> bool:
    """Return whether ONNX defines the operator by other operators; the stubs of `OpSchema` lack both attributes."""
    return bool(definition.has_function or definition.has_context_dependent_function)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs that a node's attributes hold: the branches of If, the body of Loop and Scan."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def needs(node: NodeProto, depth: int = 0) -> set[str]:
    """Return the names that must be known before the node runs: its inputs and what its subgraphs capture."""
    if depth > DEEPEST_NESTING:
        raise ConfigError(f"the model nests more than {DEEPEST_NESTING} graphs")
    names = set(node.input)
    names.discard("")
    for graph in subgraphs(node) if node.attribute else ():
        inner = {value.name for value in graph.output}
        defined = {value.name for value in graph.input} | initialiser_names(graph)
        for child in graph.node:
            inner |= needs(child, depth + 1)
            defined.update(child.output)
        names |= inner - defined
    return names


def initialiser_names(graph: GraphProto) -> set[str]:
    """Return the names of the graph's constants, dense and sparse."""
    return {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}


def ordered(nodes: Sequence[NodeProto], known: Container[str]) -> list[NodeProto]:
    """Return the nodes in topological order; nodes that already stand in such an order keep it.

    `known` holds the names defined before the first node. Raises ConfigError for a name that is defined twice or
    nowhere, and for a cycle.
    """
    producer: dict[str, int] = {}
    is_ordered = True
    for index, node in enumerate(nodes):
        is_ordered = is_ordered and all(name in producer or name in known for name in needs(node))
        for name in filter(None, node.output):
            if name in producer or name in known:
                raise ConfigError(f"the value {quoted(name)} of node {label(node)!r} is defined twice")
            producer[name] = index
    if is_ordered:
        return list(nodes)
    waits, readers = _dependencies(nodes, producer, known)
    ready = [index for index, count in enumerate(waits) if count == 0]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(nodes[index])
        for reader in readers.get(index, ()):
            waits[reader] -= 1
            if waits[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        stuck = next(label(nodes[index]) for index, count in enumerate(waits) if count)
        raise ConfigError(f"the graph has a cycle, at or before node {stuck!r}")
    return order


def _dependencies(
    nodes: Sequence[NodeProto], producer: dict[str, int], known: Container[str]
) -> tuple[list[int], dict[int, list[int]]]:
    """Return how many nodes each node waits for, and which wait for each."""
    waits = []
    readers: dict[int, list[int]] = {}
    for index, node in enumerate(nodes):
        read = needs(node)
        missing = next((name for name in sorted(read) if name not in producer and name not in known), None)
        if missing is not None:
            raise ConfigError(f"node {label(node)!r} reads {quoted(missing)}, which nothing defines")
        before = {producer[name] for name in read if name in producer}
        waits.append(len(before))
        for other in before:
            readers.setdefault(other, []).append(index)
    return waits, readers


def live(nodes: Sequence[NodeProto], wanted: Iterable[str]) -> tuple[list[NodeProto], set[str]]:
    """Return the nodes, given in topological order, that the wanted names depend on, and all names they read."""
    used = set(wanted)
    kept = []
    for node in reversed(nodes):
        if any(name in used for name in node.output if name):
            kept.append(node)
            used |= needs(node)
    return kept[::-1], used
