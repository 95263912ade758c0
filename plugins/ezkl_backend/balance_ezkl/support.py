"""Which nodes ezkl cannot take, by name, and what proving the others would cost."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from balance_core.errors import UnsupportedModel
from balance_core.stages import Estimate, NodeProblem, Support
from balance_ezkl import cost
from balance_ezkl.circuit import Arguments, Layout, lay_out
from balance_ezkl.graph import expanded, prefix, with_context
from balance_ezkl.tool import EzklFailed

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from balance_core.model import Model
    from balance_ezkl.settings import EzklSettings


def support(model: Model, options: EzklSettings) -> Support:
    """Answer for a model, from layouts alone: nothing is computed and nothing kept."""
    with tempfile.TemporaryDirectory(prefix="balance-ezkl-") as folder:
        scratch = Path(folder)
        try:
            proto = expanded(model)
        except UnsupportedModel as error:
            return Support(problems=tuple(NodeProblem(**issue._asdict()) for issue in error.issues))
        layout, problem = _lay_out(proto, options, scratch)
        if layout is None or problem is not None:
            return Support(problems=() if problem is None else (problem,))
        return Support(estimate=_estimate(layout, options, scratch))


def refuse(proto: ModelProto, options: EzklSettings, scratch: Path) -> None:
    """Raise UnsupportedModel that names the node which ezkl cannot take, if there is one."""
    _, problem = _lay_out(proto, options, scratch)
    if problem is not None:
        raise UnsupportedModel(
            "ezkl cannot prove this model",
            issues=[(problem.node, problem.operator, problem.reason, problem.mend)],
        )


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
    return None, NodeProblem(node=_label(node), operator=node.op_type, reason=f"ezkl answers: {failure.reason}")


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


def _estimate(layout: Layout, options: EzklSettings, scratch: Path) -> Estimate:
    del scratch
    k = options.logrows or cost.least_logrows(layout)
    return Estimate(rows=layout.rows, log_rows=k)


def _label(node: NodeProto) -> str:
    return node.name or next((name for name in node.output if name), "") or f"unnamed {node.op_type}"
