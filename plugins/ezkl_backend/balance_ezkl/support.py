"""Which nodes ezkl cannot take, by name, and what proving the others would cost."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from balance_core.errors import BalanceError, NodeIssue, UnsupportedModel
from balance_core.model.graph import label, operator
from balance_core.stages import Estimate, NodeProblem, Support
from balance_ezkl import cost, rules
from balance_ezkl.circuit import lay_out
from balance_ezkl.graph import expanded, prefix, with_context
from balance_ezkl.plans import likely, plans, sketches
from balance_ezkl.tool import EzklFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import ModelProto

    from balance_core.model import Model
    from balance_ezkl.circuit import Arguments, Layout
    from balance_ezkl.settings import EzklSettings


def support(model: Model, options: EzklSettings) -> Support:
    """Answer for a model, from layouts alone: nothing is computed and nothing kept."""
    try:
        proto = expanded(model)
    except UnsupportedModel as error:
        return Support(problems=tuple(NodeProblem(**issue._asdict()) for issue in error.issues))
    found = rules.problems(proto)
    if found:
        return Support(problems=tuple(found))
    with tempfile.TemporaryDirectory(prefix="balance-ezkl-") as folder:
        try:
            return Support(estimate=_estimate(proto, options, Path(folder)))
        except EzklFailed as error:
            return Support(problems=(_culprit(proto, options, Path(folder), error),))


def refuse(proto: ModelProto) -> None:
    """Raise UnsupportedModel that names the nodes which ezkl cannot take, if there are any."""
    found = rules.problems(proto)
    if found:
        raise _unsupported(found)


def explain(proto: ModelProto, options: EzklSettings, scratch: Path, failure: EzklFailed) -> BalanceError:
    """Name the node with which ezkl fails to lay a graph out; return the failure itself if it does not fail there."""
    try:
        _lay_out(proto, options, scratch, sketches(options, thorough=False)[0])
    except EzklFailed as error:
        return _unsupported([_culprit(proto, options, scratch, error)])
    return failure


def _unsupported(found: Sequence[NodeProblem]) -> UnsupportedModel:
    issues = [NodeIssue(problem.node, problem.operator, problem.reason, problem.mend) for problem in found]
    return UnsupportedModel("ezkl cannot prove this model", issues=issues)


def _estimate(proto: ModelProto, options: EzklSettings, scratch: Path) -> Estimate:
    """Say what the circuit costs that a search will probably settle on; raises EzklFailed."""
    plan = likely(plans(partial(_lay_out, proto, options, scratch), options, thorough=False), options)
    estimate = Estimate(rows=plan.layout.rows, log_rows=plan.arguments.logrows)
    shape = cost.shape(plan.layout, plan.arguments)
    if shape is None:
        return estimate
    return estimate.model_copy(
        update={
            "setup_seconds": cost.wall_seconds(shape.setup_cpu_seconds),
            "prove_seconds": cost.wall_seconds(shape.prove_cpu_seconds),
            "memory_bytes": shape.memory_bytes,
        }
    )


def _culprit(proto: ModelProto, options: EzklSettings, scratch: Path, failure: EzklFailed) -> NodeProblem:
    """Return the first node with which ezkl fails, by bisection: it hides most names behind a general error."""
    low, high = 0, len(proto.graph.node) - 1
    arguments = sketches(options, thorough=False)[0]
    while low < high:
        middle = (low + high) // 2
        try:
            _lay_out(prefix(proto, middle + 1), options, scratch, arguments)
        except EzklFailed as error:
            failure, high = error, middle
        else:
            low = middle + 1
    node = proto.graph.node[low]
    return NodeProblem(node=label(node), operator=operator(node), reason=f"ezkl answers: {failure.reason}")


def _lay_out(proto: ModelProto, options: EzklSettings, scratch: Path, arguments: Arguments) -> Layout:
    graph = scratch / "check.onnx"
    graph.write_bytes(with_context(proto))
    return lay_out(graph, arguments, options, scratch)
