"""Rewrite operators that a backend lacks into plain tensor operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import ModelProto, helper, inliner

from balance_core.errors import UnsupportedModel
from balance_core.model.draft import Draft
from balance_core.model.expansion import EXPANSIONS
from balance_core.model.expansion.build import Build
from balance_core.model.graph import has_body, issue, operator, schema
from balance_core.model.normalise import finish
from balance_core.model.passes import fold
from balance_core.model.passes.upgrade import TARGET_OPSET

if TYPE_CHECKING:
    from collections.abc import Collection

    from onnx import NodeProto

_MOST_ROUNDS = 4
"""How often an expansion may itself use an operator that is to be expanded."""


def expand(proto: ModelProto, operators: Collection[str]) -> ModelProto:
    """Return a model in normal form without the named operators, which are written as in Model.operators.

    Operators of ai.onnx.ml have expansions of their own (`balance_core.model.expansion`); others are replaced by the
    body that ONNX itself defines them by. Names that the model does not use are ignored. Answers are those of
    onnxruntime, ties included. Raises UnsupportedModel with every node that cannot be expanded.
    """
    wanted = set(operators)
    for _ in range(_MOST_ROUNDS):
        draft = Draft.of(proto)
        found = [node for node in draft.nodes if operator(node) in wanted]
        if not found:
            break
        stuck = [node for node in found if not _is_expandable(node, draft)]
        if stuck:
            reason = "the backend lacks it, and it cannot be written in other operators"
            raise UnsupportedModel("the model cannot be expanded", issues=[issue(node, reason) for node in stuck])
        fold.fold(draft)
        _rewrite(draft, wanted)
        proto = finish(draft)
        left = wanted - EXPANSIONS.keys()
        bodies = {(node.domain, node.op_type) for node in proto.graph.node if operator(node) in left}
        if bodies:
            metadata = Draft.of(proto).metadata
            draft = Draft.of(_with_bodies(proto, sorted(bodies)))
            draft.metadata = metadata
            proto = finish(draft)
    return proto


def _is_expandable(node: NodeProto, draft: Draft) -> bool:
    definition = schema(node, draft.versions)
    return operator(node) in EXPANSIONS or (definition is not None and has_body(definition))


def _with_bodies(proto: ModelProto, operators: list[tuple[str, str]]) -> ModelProto:
    """Put the bodies that ONNX defines in place of the operators; a body may depend on the types of its inputs."""
    typed = ModelProto()
    typed.CopyFrom(proto)
    for tensor in proto.graph.initializer:
        kind = helper.make_tensor_type_proto(tensor.data_type, tuple(tensor.dims))
        typed.graph.value_info.add(name=tensor.name, type=kind)
    try:
        return inliner.inline_selected_functions(typed, operators, inline_schema_functions=True)
    except RuntimeError as error:  # bodies that depend on types do not take inputs that are left out
        found = [node for node in proto.graph.node if (node.domain, node.op_type) in operators]
        issues = [issue(node, "the body that ONNX defines it by does not fit it") for node in found]
        raise UnsupportedModel("the model cannot be expanded", issues=issues) from error


def _rewrite(draft: Draft, wanted: set[str]) -> None:
    """Replace the nodes that have an expansion of their own; raises UnsupportedModel with all that defy it."""
    nodes: list[NodeProto] = []
    issues = []
    for node in draft.nodes:
        expansion = EXPANSIONS.get(operator(node)) if operator(node) in wanted else None
        if expansion is None:
            nodes.append(node)
            continue
        build = Build(node, draft)
        try:
            expansion(build)
        except UnsupportedModel as error:
            issues.append(issue(node, error.message))
        nodes.extend(build.nodes)
    if issues:
        raise UnsupportedModel("the model holds what cannot be written in plain operations", issues=issues)
    draft.nodes = nodes
    draft.versions.setdefault("", TARGET_OPSET)
