"""Model-local functions: which a node calls, in which order they can be read, and how large they are inlined."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from onnx import defs, inliner

from balance_core.errors import ConfigError
from balance_core.model.graph import domain, printable, quoted, subgraphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onnx import FunctionProto, ModelProto, NodeProto

MAX_FUNCTIONS = 4096
"""Most functions in one model."""
MAX_CALL_DEPTH = 64
"""Deepest chain of functions that call one another."""
MAX_INLINED_NODES = 1_000_000
"""Most nodes once all functions are inlined."""


class Key(NamedTuple):
    """What a call names: functions may be overloaded."""

    domain: str
    name: str
    overload: str


def key(node: NodeProto) -> Key:
    """Return which function the node calls, if there is one of that key."""
    return Key(domain(node.domain), node.op_type, node.overload)


def callees_first(proto: ModelProto) -> dict[Key, FunctionProto]:
    """Return the model's functions, each after all that it calls.

    Raises ConfigError for two functions of one key, one that hides an operator of ONNX, recursion, and a model that
    grows beyond MAX_INLINED_NODES when its functions are inlined.
    """
    if len(proto.functions) > MAX_FUNCTIONS:
        raise ConfigError(f"the model has {len(proto.functions)} functions, more than the {MAX_FUNCTIONS} allowed")
    found: dict[Key, FunctionProto] = {}
    for function in proto.functions:
        name = Key(domain(function.domain), function.name, function.overload)
        if name in found:
            raise ConfigError(f"the model defines the function {quoted(function.name)} twice")
        if defs.has(function.name, name.domain):
            raise ConfigError(
                f"the model redefines the operator {quoted(function.name)} of ONNX as a function of its own"
            )
        found[name] = function
    calls = {name: [key(node) for node in _all(function.node)] for name, function in found.items()}
    sizes: dict[Key, int] = {}
    depths: dict[Key, int] = {}
    order: dict[Key, FunctionProto] = {}
    while len(order) < len(found):
        ready = [
            name for name in found if name not in order and all(c in order or c not in found for c in calls[name])
        ]
        if not ready:
            stuck = next(name for name in found if name not in order)
            raise ConfigError(f"the function {quoted(stuck.name)} calls itself")
        for name in ready:
            order[name] = found[name]
            sizes[name] = sum(sizes.get(callee, 1) for callee in calls[name])
            depths[name] = 1 + max((depths.get(callee, 0) for callee in calls[name]), default=0)
            if depths[name] > MAX_CALL_DEPTH:
                raise ConfigError(f"the model's functions call one another more than {MAX_CALL_DEPTH} deep")
    total = sum(sizes.get(key(node), 1) for node in _all(proto.graph.node))
    if total > MAX_INLINED_NODES:
        raise ConfigError(
            f"the model has {total} nodes when its functions are inlined, more than {MAX_INLINED_NODES}"
        )
    return order


def _all(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Yield the nodes and those of all graphs inside them."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from _all(graph.node)


def inlined(proto: ModelProto) -> ModelProto:
    """Return the model without functions; the same object where it has none."""
    if not callees_first(proto):
        return proto
    try:
        return inliner.inline_local_functions(proto, convert_version=True)
    except RuntimeError as error:
        raise ConfigError(
            f"the model's functions cannot be inlined: {printable(str(error).splitlines()[0])}"
        ) from error
