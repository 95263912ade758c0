"""The three examples: graph, integer model and plain Python decide alike, ties and boundaries included."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from balance_core.converters.rules import RulesConverter, read_rules
from balance_core.integer.calibration import calibrate
from balance_core.integer.executor import execute
from balance_core.model import load
from tests.converters import rule_cases

EXAMPLES = Path(__file__).parents[2] / "examples" / "rules"
CASES = 10_000
EDGES = {
    "bank": {
        "age": [18, 25, 40, 65], "income": [1500, 10000], "debt": [300, 680, 1500], "months_in_job": [3, 6, 36],
        "missed_payments": [0, 1, 2, 3], "utilisation": [30, 80],
    },
    "clinic": {
        "temperature": ["37.2", 38, "38.5", 39], "days": [4, 7, 10], "age": [0, 1], "white_cells": [8, 12],
        "crp": [5, 10, 100], "stiff_neck": ["-0.2", "0.2", "0.5"], "rash": ["-0.2", "0.2", "0.8"],
        "light_hurts": ["0.2"],
    },
    "sensors": {
        "battery": ["10.5", "11.8"], "solar": [5], "temperature": [-25, -3, 1], "humidity": [85, 90],
        "wind": ["24.5", 5, 10], "gust": ["28.5", 35, 13, 21], "water": [1800, 2500, 3200, 1860, 1950],
        "water_before": [1800, 2400, 2440, 3050],
    },
}  # fmt: skip
"""Values at which a rule of the set turns; every fact is drawn at them, one step beside them, or anywhere."""


def cases(name, facts):
    """Return integers for each fact: a third anywhere, two thirds at a threshold or a step from it."""
    random = np.random.default_rng(len(name))
    drawn = {}
    for fact in facts:
        anywhere = random.integers(fact.lo, fact.hi + 1, CASES)
        edges = [int(Fraction(str(value)) / fact.resolution) for value in EDGES[name].get(fact.name, ())]
        near = np.array([n + d for n in (*edges, fact.lo, fact.hi) for d in (-1, 0, 0, 1)])
        at_edge = np.clip(random.choice(near, CASES), fact.lo, fact.hi)
        drawn[fact.name] = np.where(random.random(CASES) < (0.67 if edges else 0), at_edge, anywhere)
        if fact.kind == "flag":
            drawn[fact.name] = (random.random(CASES) < 0.3).astype(np.int64)
    return drawn


@pytest.fixture(scope="module", params=["bank", "clinic", "sensors"])
def example(request):
    """Return the rule set, its graph, 10,000 cases and what plain Python says of each."""
    source = EXAMPLES / f"{request.param}.yaml"
    rules, proto = read_rules(source), RulesConverter().convert(source)
    inputs = cases(request.param, rules.facts)
    decide = getattr(rule_cases, request.param)
    values = {fact.name: [int(n) * fact.resolution for n in inputs[fact.name]] for fact in rules.facts}
    expected = [decide({name: column[i] for name, column in values.items()}) for i in range(CASES)]
    return request.param, rules, proto, inputs, expected


def check(rules, expected, answers):
    """Compare decisions, scores and fired rules, all of them."""
    step = Fraction(1, 1000) if rules.kind == "certainty" else rules.resolution
    flat = {name: np.asarray(value).reshape(CASES, -1).astype(np.int64) for name, value in answers.items()}
    assert [rules.decisions[n] for n in flat["decision"][:, 0]] == [decision for decision, _, _ in expected]
    assert [int(n) * step for n in flat["score"][:, 0]] == [score for _, score, _ in expected]
    names = np.array([rule.id for rule in rules.rules])
    assert [set(names[row.astype(bool)]) for row in flat["fired"]] == [fired for _, _, fired in expected]


def test_the_graph_decides_as_plain_python_does(example):
    _, rules, proto, inputs, expected = example
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    check(rules, expected, dict(zip(names, session.run(None, inputs), strict=True)))


@pytest.mark.parametrize("samples", [None, 5])
def test_the_integer_model_decides_as_plain_python_does_whatever_it_was_calibrated_on(example, samples):
    _, rules, proto, inputs, expected = example
    batch = {name: column.reshape(-1, 1) for name, column in inputs.items()}
    few = None if samples is None else {name: column[:samples] for name, column in batch.items()}
    found = calibrate(load.load(proto).proto(), few)
    check(rules, expected, execute(found.model, batch).reals)


def test_the_cases_reach_every_rule_and_decision_and_the_bounds_of_bands(example):
    name, rules, _, _, expected = example
    fired = Counter(identifier for _, _, found in expected for identifier in found)
    assert {rule.id for rule in rules.rules} == fired.keys()
    assert {decision for decision, _, _ in expected} == set(rules.decisions)
    if name == "bank":
        scores = Counter(score for _, score, _ in expected)
        assert min(scores[600], scores[Fraction("599.5")], scores[Fraction("550.5")], scores[550]) > 0
    if name == "clinic":
        scores = Counter(score for _, score, _ in expected)
        assert scores[Fraction("0.45")]


def test_facts_outside_their_range_count_as_the_nearest_end(example):
    _, rules, proto, inputs, _ = example
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    first = rules.facts[0].name
    beyond, at_end = dict(inputs), dict(inputs)
    beyond[first] = np.full(CASES, 2**40)
    at_end[first] = np.full(CASES, rules.facts[0].hi)
    for a, b in zip(session.run(None, beyond), session.run(None, at_end), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_names_of_the_decisions_travel_with_the_model(example):
    _, rules, proto, _, _ = example
    kept = {entry.key: entry.value for entry in load.load(proto).proto().metadata_props}
    assert all(decision in kept["balance.labels.decision"] for decision in rules.decisions)
