"""Which nodes ezkl cannot take, by name, and what proving the others would cost."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from balance_core.errors import NodeIssue, UnsupportedModel
from balance_core.model.graph import label, operator
from balance_core.stages import Estimate, NodeProblem, Support
from balance_ezkl import cost, rules
from balance_ezkl.circuit import Arguments, Layout, lay_out
from balance_ezkl.graph import expanded, prefix, with_context
from balance_ezkl.tool import EzklFailed

if TYPE_CHECKING:
    from onnx import ModelProto

    from balance_core.model import Model
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
        layout, problem = _lay_out(proto, options, Path(folder))
        if layout is None or problem is not None:
            return Support(problems=() if problem is None else (problem,))
        return Support(estimate=_estimate(layout, options))


def refuse(proto: ModelProto, options: EzklSettings | None = None, scratch: Path | None = None) -> None:
    """Raise UnsupportedModel that names the nodes which ezkl cannot take.

    With a folder to work in, ezkl itself is asked as well.
    """
    found = rules.problems(proto)
    if not found and options is not None and scratch is not None:
        _, problem = _lay_out(proto, options, scratch)
        found = [] if problem is None else [problem]
    if found:
        issues = [NodeIssue(problem.node, problem.operator, problem.reason, problem.mend) for problem in found]
        raise UnsupportedModel("ezkl cannot prove this model", issues=issues)


def _lay_out(proto: ModelProto, options: EzklSettings, scratch: Path) -> tuple[Layout | None, NodeProblem | None]:
    """Return the layout of a graph, or the first node with which it fails."""
    try:
        return _try(proto, options, scratch), None
    except EzklFailed as error:
        failure = error
    low, high = 0, len(proto.graph.node) - 1
    while low < high:
        middle = (low + high) // 2
        try:
            _try(prefix(proto, middle + 1), options, scratch)
        except EzklFailed as error:
            failure, high = error, middle
        else:
            low = middle + 1
    node = proto.graph.node[low]
    return None, NodeProblem(node=label(node), operator=operator(node), reason=f"ezkl answers: {failure.reason}")


def _try(proto: ModelProto, options: EzklSettings, scratch: Path) -> Layout:
    graph = scratch / "check.onnx"
    graph.write_bytes(with_context(proto))
    return lay_out(graph, _arguments(options), options, scratch)


def _arguments(options: EzklSettings) -> Arguments:
    return Arguments(
        input_scale=7 if options.input_scale is None else options.input_scale,
        param_scale=7 if options.param_scale is None else options.param_scale,
        multiplier=options.scale_rebase_multiplier or 1,
        base=options.decomp_base or 2**10,
        legs=options.decomp_legs or 2,
        inner=options.num_inner_cols or 2,
    )


def _estimate(layout: Layout, options: EzklSettings) -> Estimate:
    k = options.logrows or cost.least_logrows(layout)
    shape = cost.shape(layout, replace(layout.arguments, logrows=k, base=1 << (k - 1), lookup_range=(-1, 1)))
    if shape is None:
        return Estimate(rows=layout.rows, log_rows=k)
    return Estimate(
        rows=layout.rows,
        log_rows=k,
        setup_seconds=cost.wall_seconds(shape.setup_cpu_seconds),
        prove_seconds=cost.wall_seconds(shape.prove_cpu_seconds),
        memory_bytes=shape.memory_bytes,
    )
