"""Operators: what is listed as right is right, what is refused is wrong, and both by name."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from balance_ezkl import answer, rules, witness
from balance_ezkl.backend import EzklBackend
from balance_ezkl.circuit import Arguments, compile_circuit, lay_out
from balance_ezkl.graph import WRITTEN_OUT, expanded, with_context
from balance_ezkl.operators import KEEPS_SIGN, NEVER_NEGATIVE, SUPPORTED
from balance_ezkl.settings import EzklSettings
from balance_ezkl.support import explain
from balance_ezkl.tool import EzklFailed
from onnx import defs, helper

from balance_core.errors import UnsupportedModel
from balance_core.model import reference
from balance_core.model.expansion import EXPANSIONS
from balance_core.model.load import load

from .operator_cases import LACKING, RIGHT, WRONG
from .workshop import graph, mlp, sampled

GENEROUS = Arguments(input_scale=10, param_scale=10, base=2**14, legs=4, logrows=18, lookup_range=(-60000, 60000))


def largest_error(case, folder):
    """Return how far ezkl's answer is from onnxruntime's."""
    model = load(case.model())
    inputs = {spec.name: array.astype(spec.dtype) for spec, array in zip(model.inputs, case.inputs, strict=True)}
    expected = reference.run(model.onnx, {name: array[None] for name, array in inputs.items()})
    path = folder / "graph.onnx"
    path.write_bytes(with_context(expanded(model)))
    layout = lay_out(path, GENEROUS, EzklSettings(), folder)
    compile_circuit(path, layout, folder / "compiled", folder)
    scales = layout.settings["model_input_scales"][1:]
    values = witness.quantise_all(inputs, model.inputs, scales, GENEROUS.limit)
    answered = answer.compute(folder / "compiled", values, bytes(32))
    (spec,), (scale,) = model.outputs, layout.settings["model_output_scales"]
    found = witness.floats(answered.outputs[0], spec, scale)
    return float(np.abs(found - expected[spec.name][0].astype(np.float64)).max())


@pytest.mark.parametrize("case", RIGHT, ids=str)
def test_supported_operator_is_answered_as_onnx_means_it(case, tmp_path):
    assert not rules.problems(expanded(load(case.model())))
    assert largest_error(case, tmp_path) < 0.02


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_rule_is_still_needed(case, tmp_path):
    """When this fails, ezkl has mended what the rule is about: take the rule away."""
    assert largest_error(case, tmp_path) > 0.05


@pytest.mark.parametrize("case", [*WRONG, *LACKING], ids=str)
def test_wrong_node_is_named_by_check_and_by_setup(case, bench):
    model = load(case.model())
    (problem,) = EzklBackend().check(model).problems
    assert (problem.node, problem.operator) == ("the_node", case.operator)
    assert problem.reason
    samples = sampled(mlp(seed=1))
    with pytest.raises(UnsupportedModel, match="the_node") as refused:
        bench.setup(model, samples)
    assert [issue.node for issue in refused.value.issues] == ["the_node"]


def test_all_wrong_nodes_are_named_at_once():
    nodes = [
        helper.make_node("Tile", ["x", "r"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="fine"),
        helper.make_node("Mod", ["b", "two"], ["y"], name="second", fmod=1),
    ]
    constants = {"r": np.array([1, 2], dtype=np.int64), "two": np.array(2.0)}
    model = load(graph(nodes, {"x": (1, 4)}, {"y": (1, 8)}, constants))
    problems = EzklBackend().check(model).problems
    assert [problem.node for problem in problems] == ["first", "second"]
    assert problems[0].mend


def test_node_that_only_ezkl_can_tell_is_found_by_bisection(tmp_path):
    """`General synthesis error` names nobody: a Mod in the middle of a row of nodes is found all the same."""
    names = [f"v{index}" for index in range(9)]
    nodes = [
        helper.make_node("Relu", [source], [target], name=f"relu_{target}") for source, target in pairwise(names)
    ]
    nodes[5] = helper.make_node("Mod", ["v5", "two"], ["v6"], name="culprit", fmod=1)
    proto = load(graph(nodes, {"v0": (1, 4)}, {"v8": (1, 4)}, {"two": np.array(2.0)})).proto()
    found = explain(proto, EzklSettings(), tmp_path, EzklFailed("it failed", reason="General synthesis error"))
    assert [(issue.node, issue.operator) for issue in found.issues] == [("culprit", "Mod")]
    assert "General synthesis error" in found.message


def test_lists_name_operators_that_exist():
    known = {schema.name for schema in defs.get_all_schemas()}
    assert known >= SUPPORTED
    assert known >= NEVER_NEGATIVE | KEEPS_SIGN
    assert list(rules._RULES) == sorted(rules._RULES)
    assert set(rules._RULES) <= SUPPORTED


def test_estimate_is_near_what_the_search_chooses(tiny):
    estimate = EzklBackend().check(tiny.model).estimate
    assert abs(estimate.log_rows - tiny.circuit.facts["k"]) <= 4
    assert 0 < estimate.prove_seconds < 5
    assert 50e6 < estimate.memory_bytes < 500e6


def test_tensor_with_the_contexts_name_is_refused(tiny):
    proto = tiny.model.proto()
    proto.graph.input[0].name = "balance.context"
    proto.graph.node[0].input[0] = "balance.context"
    with pytest.raises(UnsupportedModel, match="name of the request"):
        with_context(proto)


def test_failure_that_is_no_nodes_fault_is_blamed_on_none(tiny, tmp_path):
    failure = EzklFailed("it failed", reason="the disk is full")
    assert explain(tiny.model.proto(), EzklSettings(), tmp_path, failure) is failure


def test_what_is_supported_is_never_written_out():
    assert not SUPPORTED & (WRITTEN_OUT | EXPANSIONS.keys())
