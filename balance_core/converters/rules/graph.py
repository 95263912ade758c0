"""A rule set as an ONNX graph of whole numbers: comparisons, counts of what holds, and sums; no fact is rounded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, TensorProto, helper

from balance_core.converters.rules.builder import Builder
from balance_core.converters.rules.certainty import Certainties
from balance_core.converters.rules.condition import Condition, Gate, is_graded
from balance_core.converters.rules.logic import Logic
from balance_core.model.draft import LABELS_KEY

if TYPE_CHECKING:
    from balance_core.converters.rules.language import RuleSet


def to_onnx(rules: RuleSet) -> ModelProto:
    """Return the graph; inputs are the facts, int64 [N] in steps; outputs are int64 too.

    `decision` [N] numbers the decisions; `score` [N] counts steps (thousandths of certainty in a set of that kind);
    `fired` [N, rules] is 1 for each rule whose condition holds; a certainty set has `certainties` [N, decisions that
    rules conclude] as well.
    """
    build = Builder()
    facts = _facts(build, rules)
    shape: list[tuple[str, list[str | int]]] = [
        ("decision", ["N"]),
        ("score", ["N"]),
        ("fired", ["N", len(rules.rules)]),
    ]
    crisp = [None if is_graded(rule.when) else rule.when for rule in rules.rules]
    logic = Logic(build, facts, len(rules.facts), [part for rule in rules.rules for part in crisp_parts(rule.when)])
    if rules.kind == "certainty":
        certain = Certainties(build, rules, logic, facts)
        fired, candidates, of_decision, score = certain.fired, certain.flags, certain.decisions, certain.best
        build.output("certainties", certain.values)
        shape.append(("certainties", ["N", len(certain.decisions)]))
    else:
        fired = logic.columns([condition for condition in crisp if condition is not None])
        candidates, of_decision, score = None, [], ""
    if rules.kind == "scorecard":
        points = np.array([[rule.points] for rule in rules.rules])
        score = build.plus(build.weighted(fired, points), rules.base)
        candidates = build.greater(score, np.array([[band.least - 1 for band in rules.bands]]))
        of_decision = [band.decide for band in rules.bands]
    first, decided = _first(build, rules, fired, candidates)
    numbers = np.array([rules.rules[i].decide for i in rules.deciding] + of_decision) - rules.default
    decision = build.plus(build.weighted(first, numbers.reshape(-1, 1)), rules.default) if decided else ""
    if rules.kind == "decision table":
        scores = np.array([[rules.rules[i].score - rules.base] for i in rules.deciding])
        score = build.plus(build.weighted(first, scores), rules.base)
    build.output("decision", build.flat(decision))
    build.output("score", build.flat(score))
    build.output("fired", fired)
    graph = helper.make_graph(
        build.nodes,
        "rules",
        [helper.make_tensor_value_info(fact.name, TensorProto.INT64, ["N"]) for fact in rules.facts],
        [helper.make_tensor_value_info(name, TensorProto.INT64, sizes) for name, sizes in shape],
        build.constants(),
    )
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], producer_name="balance", ir_version=8
    )
    helper.set_model_props(proto, {f"{LABELS_KEY}decision": json.dumps(rules.decisions)})
    return proto


def _facts(build: Builder, rules: RuleSet) -> str:
    """Return all facts side by side [N, facts]; one outside its range counts as the nearest end of it."""
    columns = []
    for fact in rules.facts:
        ends = build.constant(np.array(fact.lo)), build.constant(np.array(fact.hi))
        within = build.add("Clip", fact.name, *ends)
        columns.append(build.add("Unsqueeze", within, build.constant(np.array([1]))))
    return build.join(columns)


def crisp_parts(condition: Condition) -> list[Condition]:
    """Return the largest parts of a condition that ask for no certainty."""
    if not is_graded(condition):
        return [condition]
    return [part for inner in condition.parts for part in crisp_parts(inner)] if isinstance(condition, Gate) else []


def _first(build: Builder, rules: RuleSet, fired: str, candidates: str | None) -> tuple[str, int]:
    """Return [N, places]: 1 for the first place that holds: the deciding rules in their rank, then the candidates."""
    parts = [build.pick(fired, list(rules.deciding))] if rules.deciding else []
    count = len(rules.deciding)
    if candidates is not None:
        parts.append(candidates)
        count += build.width(candidates)
    flags = build.join(parts)
    # 1 for the place itself, -1 for each before it: only the first that holds comes to more than 0.
    before = np.eye(count, dtype=np.int64) - np.triu(np.ones((count, count), dtype=np.int64), 1)
    return build.greater(build.weighted(flags, before), np.zeros((1, count))), count
