"""Replace control flow that no input decides: the branch that an If takes, the steps of a Loop or Scan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from onnx import GraphProto, NodeProto, helper

from balance_core.errors import ConfigError
from balance_core.model.graph import domain, label
from balance_core.model.ml import attributes
from balance_core.model.passes.bodies import Body
from balance_core.model.passes.budget import MAX_UNROLLED_NODES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.model.draft import Draft
    from balance_core.model.passes.budget import Budget


@dataclass
class Step:
    """A Loop or Scan whose next step is due; it becomes the nodes of that step and the Step after it.

    `state` holds the names of the values that one step hands to the next, `rows` those that each step adds to the
    results that are collected.
    """

    node: NodeProto
    body: Body
    state: list[str]
    count: int
    condition: str
    budget: Budget
    number: int = 0
    rows: list[list[str]] = field(default_factory=list)


def replaced(node: NodeProto | Step, draft: Draft, budget: Budget) -> Sequence[NodeProto | Step] | None:
    """Return what stands in the node's place; None for a node that stays, a loop that must stay among them.

    The draft's constants and types must be known up to the node. Raises ConfigError for bodies that do not fit.
    """
    if isinstance(node, Step):
        return _step(node, draft)
    if domain(node.domain) or node.op_type not in {"If", "Loop", "Scan"}:
        return None
    given = attributes(node)
    match node.op_type:
        case "If":
            return _branch(node, given, draft, budget)
        case "Loop":
            return _loop(node, given, draft, budget)
    return _scan(node, given, draft, budget)


def _graph(node: NodeProto, given: dict[str, object], name: str, *, inputs: int, outputs: int) -> GraphProto:
    graph = given.get(name)
    if not isinstance(graph, GraphProto) or (len(graph.input), len(graph.output)) != (inputs, outputs):
        raise ConfigError(
            f"node {label(node)!r} [{node.op_type}] has no {name} of {inputs} inputs, {outputs} outputs"
        )
    return graph


def _branch(node: NodeProto, given: dict[str, object], draft: Draft, budget: Budget) -> list[NodeProto] | None:
    condition = _flag(node.input[0] if node.input else "", draft)
    if condition is None:
        return None
    name = "then_branch" if condition else "else_branch"
    nodes, outputs = Body(node, _graph(node, given, name, inputs=0, outputs=len(node.output)), draft, budget).copy()
    return nodes + _identities(outputs, node.output)


def _loop(node: NodeProto, given: dict[str, object], draft: Draft, budget: Budget) -> list[Step] | None:
    count_name, condition, *state = (*node.input, "", "")[: max(2, len(node.input))]
    count = draft.constant(count_name)
    if count is None or count.size != 1 or count.dtype.kind not in "iu":
        return None
    rows = _rows(node, state)
    graph = _graph(node, given, "body", inputs=len(state) + 2, outputs=len(node.output) + 1)
    if not condition:
        condition = draft.define(draft.fresh("condition"), np.array(True))
    body = Body(node, graph, draft, budget)
    return [Step(node, body, state, int(count.reshape(())), condition, budget, rows=rows)]


def _scan(node: NodeProto, given: dict[str, object], draft: Draft, budget: Budget) -> list[Step] | None:
    scanned = given.get("num_scan_inputs")
    if not isinstance(scanned, int) or not 0 < scanned <= len(node.input):
        raise ConfigError(f"node {label(node)!r} [Scan] scans {scanned} of its {len(node.input)} inputs")
    state = list(node.input)[:-scanned]
    shapes = [draft.shape(name) for name in list(node.input)[-scanned:]]
    axes = _each(node, given, "scan_input_axes", scanned)
    if any(shape is None or not -len(shape) <= axis < len(shape) for shape, axis in zip(shapes, axes, strict=True)):
        return None
    lengths = {shape[axis] for shape, axis in zip(shapes, axes, strict=True) if shape is not None}
    if len(lengths) != 1 or max(lengths) > MAX_UNROLLED_NODES:
        return None
    graph = _graph(node, given, "body", inputs=len(node.input), outputs=len(node.output))
    body = Body(node, graph, draft, budget)
    return [Step(node, body, state, lengths.pop(), "", budget, rows=_rows(node, state))]


def _rows(node: NodeProto, state: list[str]) -> list[list[str]]:
    """Return an empty list for each output that collects what the steps add."""
    if len(node.output) < len(state):
        raise ConfigError(f"node {label(node)!r} [{node.op_type}] gives {len(node.output)} of {len(state)} states")
    return [[] for _ in range(len(node.output) - len(state))]


def _each(node: NodeProto, given: dict[str, object], name: str, count: int) -> list[int]:
    """Return an attribute of Scan that holds one number for each input or output, and is 0 where it is absent."""
    values = given.get(name) or [0] * count
    if not isinstance(values, list) or len(values) != count:
        raise ConfigError(f"node {label(node)!r} [{node.op_type}] has no {count} {name}")
    return values


def _step(step: Step, draft: Draft) -> Sequence[NodeProto | Step] | None:
    goes_on = _flag(step.condition, draft) if step.condition else True
    if goes_on is None:
        return None
    if not goes_on or step.number >= step.count:
        return _end(step, draft)
    step.budget.nodes -= 1 + len(step.body.graph.node)
    if step.budget.nodes < 0:
        return None
    before: list[NodeProto] = []
    if step.node.op_type == "Loop":
        number = draft.define(draft.fresh("step"), np.array(step.number, dtype=np.int64))
        nodes, [condition, *outputs] = step.body.copy(number, step.condition, *step.state)
    else:
        before, slices = _slices(step, draft)
        condition = ""
        nodes, outputs = step.body.copy(*step.state, *slices)
    carried = len(step.state)
    rows = [[*row, output] for row, output in zip(step.rows, outputs[carried:], strict=True)]
    after = Step(step.node, step.body, outputs[:carried], step.count, condition, step.budget, step.number + 1, rows)
    return [*before, *nodes, after]


def _slices(step: Step, draft: Draft) -> tuple[list[NodeProto], list[str]]:
    """Return the nodes that take the step's part of each scanned input, and the names of the parts."""
    given = attributes(step.node)
    names = list(step.node.input)[len(step.state) :]
    axes = _each(step.node, given, "scan_input_axes", len(names))
    backwards = _each(step.node, given, "scan_input_directions", len(names))
    nodes = []
    for name, axis, reverse in zip(names, axes, backwards, strict=True):
        place = step.count - 1 - step.number if reverse else step.number
        index = draft.define(draft.fresh("step"), np.array(place, dtype=np.int64))
        nodes.append(helper.make_node("Gather", [name, index], [draft.fresh("slice")], axis=axis))
    return nodes, [node.output[0] for node in nodes]


def _end(step: Step, draft: Draft) -> list[NodeProto] | None:
    """Return the nodes that write the outputs: the state after the last step, and the rows side by side."""
    if step.rows and not step.rows[0]:
        return None  # nothing says which shape the rows of no step have
    given = attributes(step.node)
    axes = _each(step.node, given, "scan_output_axes", len(step.rows))
    backwards = _each(step.node, given, "scan_output_directions", len(step.rows))
    carried = len(step.state)
    nodes = _identities(step.state, step.node.output[:carried])
    for rows, output, axis, reverse in zip(step.rows, step.node.output[carried:], axes, backwards, strict=True):
        columns = []
        for row in reversed(rows) if reverse else rows:
            columns.append(draft.fresh("row"))
            nodes.append(_unsqueezed(row, columns[-1], axis, draft))
        if output:
            nodes.append(helper.make_node("Concat", columns, [output], axis=axis))
    return nodes


def _unsqueezed(value: str, result: str, axis: int, draft: Draft) -> NodeProto:
    if draft.versions[""] < 13:  # the axes became an input in opset 13
        return helper.make_node("Unsqueeze", [value], [result], axes=[axis])
    axes = draft.define(draft.fresh("axes"), np.array([axis], dtype=np.int64))
    return helper.make_node("Unsqueeze", [value, axes], [result])


def _identities(values: Sequence[str], outputs: Sequence[str]) -> list[NodeProto]:
    return [
        helper.make_node("Identity", [value], [output])
        for value, output in zip(values, outputs, strict=True)
        if output
    ]


def _flag(name: str, draft: Draft) -> bool | None:
    value = draft.constant(name)
    return None if value is None or value.size != 1 else bool(value.reshape(()))
