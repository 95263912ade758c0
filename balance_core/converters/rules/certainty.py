"""Certainty factors after MYCIN, in thousandths: what speaks for a hypothesis and what against it, combined exactly.

A rule of certainty c whose condition is t thousandths certain contributes |c| * t / 1000, rounded half up.
Contributions combine as x + y - x * y / 1000 (the product rounded half up), in the order of the rules, those for and
those against apart. A hypothesis is as certain as what is for it less what is against it (Shortliffe and Buchanan,
"A model of inexact reasoning in medicine", 1975). In conditions `and` is the least certainty, `or` the largest, `not`
the opposite; a comparison is 1 or -1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.converters.rules.condition import UNIT, Condition, Gate, Grade, grades, is_graded

if TYPE_CHECKING:
    from balance_core.converters.rules.builder import Builder
    from balance_core.converters.rules.language import RuleSet
    from balance_core.converters.rules.logic import Logic


_ZERO = np.array([[0]])


class Certainties:
    """The part of a graph that a certainty set has beside its comparisons."""

    def __init__(self, build: Builder, rules: RuleSet, logic: Logic, facts: str) -> None:
        self._build = build
        self._rules = rules
        self._logic = logic
        self._facts = facts
        self._known: dict[int, str] = {}
        """The certainty of each hypothesis that is settled, by its column."""
        self._one = build.constant(np.array([[UNIT]]))
        fired: dict[int, str] = {}
        for level in _levels(rules):
            self._settle(level, fired)
        others = [i for i in range(len(rules.rules)) if i not in fired]
        if others:
            flags = logic.columns([rules.rules[i].when for i in others])
            fired |= {i: build.pick(flags, [place]) for place, i in enumerate(others)}
        self.fired = build.join([fired[i] for i in range(len(rules.rules))])
        first = len(rules.facts)
        self.decisions = [d for d in range(len(rules.decisions)) if first + d in self._known]
        """The decisions that rules conclude, by number."""
        self.values = build.join([self._known[first + d] for d in self.decisions])
        """How certain each of them is, in thousandths."""
        self.best = self.values
        """The largest of these."""
        if len(self.decisions) > 1:
            self.best = build.add("ReduceMax", self.values, build.constant(np.array([1])), keepdims=1)
        enough = build.plus(build.add("Max", self.best, build.constant(np.array([[rules.accept]]))), -1)
        flags = build.add("Greater", self.values, enough)
        self.flags = build.add("Cast", flags, width=len(self.decisions), to=7)
        """1 for each of them that is the most certain, and certain enough."""

    def _settle(self, level: list[int], fired: dict[int, str]) -> None:
        """Compute the hypotheses of one level, whose rules ask for facts and hypotheses of lower levels only."""
        build, rules = self._build, self._rules
        members = {h: [i for i, rule in enumerate(rules.rules) if rule.conclude == h] for h in level}
        places = [i for found in members.values() for i in found]
        # Combined is what a rule leaves open, 1 - x: (1 - x)(1 - y) is 1 - (x + y - x y), rounding included.
        shares = build.join([self._contribution(i, fired) for i in places])
        doubts = build.add("Sub", self._one, shares, width=len(places))
        # One lane for what is for, one for what is against each hypothesis; each takes its rules in order.
        lanes = [
            [i for i in members[h] if (rules.rules[i].certainty > 0) == positive]
            for positive in (True, False)
            for h in level
        ]
        nothing = len(places)
        doubts = build.join([doubts, build.add("Add", build.times(build.pick(doubts, [0]), _ZERO), self._one)])
        total = ""
        for step in range(max(map(len, lanes))):
            columns = [places.index(lane[step]) if step < len(lane) else nothing for lane in lanes]
            part = build.pick(doubts, columns)
            total = part if not total else self._thousandths(build.add("Mul", total, part, width=len(lanes)))
        half = len(level)
        for place, h in enumerate(level):  # (1 - against) - (1 - for)
            contra, pro = build.pick(total, [half + place]), build.pick(total, [place])
            self._known[len(rules.facts) + h] = build.add("Sub", contra, pro)

    def _thousandths(self, product: str) -> str:
        """Return a product of certainties from 0 to 1 in thousandths, rounded half up."""
        build, width = self._build, self._build.width(product)
        # Clipping changes nothing: it tells who proves the graph that the number is small and not negative.
        ends = build.constant(np.array(0)), build.constant(np.array(UNIT * UNIT + UNIT // 2))
        raised = build.add("Clip", build.plus(product, UNIT // 2), *ends, width=width)
        return build.add("Div", raised, build.constant(np.array([[UNIT]])), width=width)

    def _contribution(self, place: int, fired: dict[int, str]) -> str:
        """Return what a rule adds, and note when it fires."""
        build, rule = self._build, self._rules.rules[place]
        size = np.array([[abs(rule.certainty)]])
        if not is_graded(rule.when):
            fired[place] = self._logic.columns([rule.when])
            return build.times(fired[place], size)
        value = self._value(rule.when)
        fired[place] = build.greater(value, np.array([[self._rules.evidence - 1]]))
        known = build.add("Max", value, build.constant(np.array([[0]])))
        return build.add("Mul", fired[place], self._thousandths(build.times(known, size)))

    def _value(self, condition: Condition) -> str:
        """Return how certain a condition is, in thousandths."""
        build = self._build
        if isinstance(condition, Grade):
            column = condition.column
            value = self._known[column] if column in self._known else build.pick(self._facts, [column])
            return value if condition.positive else build.times(value, np.array([[-1]]))
        if isinstance(condition, Gate) and is_graded(condition):
            return build.add("Min" if condition.op == "and" else "Max", *map(self._value, condition.parts))
        return build.plus(build.times(self._logic.columns([condition]), np.array([[2 * UNIT]])), -UNIT)


def _levels(rules: RuleSet) -> list[list[int]]:
    """Return the hypotheses that rules conclude, in levels of which each asks for lower ones only."""
    first = len(rules.facts)
    needs: dict[int, set[int]] = {}
    for rule in rules.rules:
        if rule.conclude is not None:
            asked = {column - first for column in grades(rule.when) if column >= first}
            needs.setdefault(rule.conclude, set()).update(asked)
    levels: list[list[int]] = []
    settled: set[int] = set()
    while len(settled) < len(needs):
        level = sorted(h for h, asked in needs.items() if h not in settled and asked <= settled)
        levels.append(level)
        settled |= set(level)
    return levels
