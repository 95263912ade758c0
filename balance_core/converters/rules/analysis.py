"""Whether some case meets a condition: a search over boxes of facts, exact and of bounded length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from balance_core.converters.rules.condition import UNIT, Condition, Gate, Grade, Literal, atoms, joined, negated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.converters.rules.document import Problems
    from balance_core.converters.rules.language import Fact, Rule, RuleSet

STEPS = 400_000
"""Comparisons that all searches of one rule set may look at together: a few seconds."""
QUESTION = 50_000
"""Comparisons that one search may look at."""

Box = tuple[tuple[int, int], ...]
"""The least and largest value of every column."""


class Undecided(Exception):
    """The search ended before it knew."""


@dataclass
class Search:
    """Looks for cases; the steps are shared by all its questions."""

    whole: Box
    steps: int = STEPS

    def case(self, condition: Condition) -> tuple[int, ...] | None:
        """Return a case that meets a condition without grades, or None when there is none; raises Undecided."""
        waiting: list[tuple[Box, Condition | bool]] = [(self.whole, condition)]
        last = max(0, self.steps - QUESTION)
        while waiting:
            if self.steps <= last:
                raise Undecided
            box, open_condition = waiting.pop()
            rest = self.reduced(open_condition, box)
            if rest is True:
                return tuple(low for low, _ in box)
            if rest is not False:
                column, at = _cut(rest, box)
                low, high = box[column]
                halves = ((low, at), (at + 1, high))
                waiting += [((*box[:column], part, *box[column + 1 :]), rest) for part in halves]
        return None

    def reduced(self, condition: Condition | bool, box: Box) -> Condition | bool:
        """Return what is left of a condition inside a box."""
        if isinstance(condition, bool):
            return condition
        if isinstance(condition, Gate):
            deciding = condition.op == "or"
            parts: list[Condition] = []
            for part in condition.parts:
                found = self.reduced(part, box)
                if found is deciding:
                    return deciding
                if not isinstance(found, bool):
                    parts.append(found)
            return joined(condition.op, parts) if parts else not deciding
        if isinstance(condition, Grade):
            raise TypeError("a grade is no comparison: `fires` makes one of it")
        self.steps -= 1
        low, high = _span(condition, box)
        if low >= condition.atom.bound:
            return condition.positive
        return not condition.positive if high < condition.atom.bound else condition


def _span(literal: Literal, box: Box) -> tuple[int, int]:
    """Return the interval of an atom's sum in a box."""
    low = high = 0
    for column, factor in literal.atom.terms:
        ends = box[column][0] * factor, box[column][1] * factor
        low, high = low + min(ends), high + max(ends)
    return low, high


def _cut(condition: Condition, box: Box) -> tuple[int, int]:
    """Return the column to cut a box along, and the last value of its lower part: where the first open atom turns."""
    atom = next(atoms(condition))
    terms = atom.terms
    if len(terms) == 1:  # n >= bound: a lone factor is 1
        return terms[0][0], atom.bound - 1
    column = max(terms, key=lambda term: abs(term[1]) * (box[term[0]][1] - box[term[0]][0]))[0]
    low, high = box[column]
    return column, (low + high) // 2


def never(condition: Condition, facts: Sequence[Fact]) -> bool:
    """Whether a comparison is false wherever the facts are in their ranges, as far as one look tells."""
    search = Search(tuple((fact.lo, fact.hi) for fact in facts))
    return search.reduced(condition, search.whole) is False


def check(rules: RuleSet, conditions: Sequence[Condition], problems: Problems) -> None:
    """Report rules that no case meets, that others always go before, and that contradict each other.

    `conditions` says, without grades, when each rule fires.
    """
    box = (*((fact.lo, fact.hi) for fact in rules.facts), *[(-UNIT, UNIT)] * len(rules.hypotheses))
    search = Search(box)
    alive = set()
    for i, (rule, condition) in enumerate(zip(rules.rules, conditions, strict=True)):
        try:
            if search.case(condition) is None:
                problems.add(rule.line, f"rule {rule.id} is unreachable: no case within the facts' ranges meets it")
            else:
                alive.add(i)
        except Undecided:
            alive.add(i)
    asked = set().union(*map(_columns, conditions))
    for column, fact in enumerate(rules.facts):
        if column not in asked:
            problems.add(fact.line, f"no rule asks for the fact {fact.name}")
    _deciding(rules, conditions, alive, search, problems)
    _groups(rules, conditions, alive, search, problems)
    _bands(rules, problems)


def _deciding(
    rules: RuleSet, conditions: Sequence[Condition], alive: set[int], search: Search, problems: Problems
) -> None:
    """Report deciding rules that never decide, and pairs of one rank that disagree about a case."""
    places = [i for i in rules.deciding if i in alive]
    for place, i in enumerate(places):
        rule = rules.rules[i]
        above = [negated(conditions[j]) for j in places[:place] if rules.rules[j].priority > rule.priority]
        try:
            if above and search.case(joined("and", [conditions[i], *above])) is None:
                problems.add(rule.line, f"rule {rule.id} is unreachable: rules of higher priority meet all its cases")
                continue
        except Undecided:
            pass  # whether it ever decides changes no answer
        for j in places[:place]:
            other = rules.rules[j]
            if other.priority != rule.priority or (other.decide, other.score) == (rule.decide, rule.score):
                continue
            what = f"rule {rule.id} contradicts rule {other.id} in line {other.line}"
            try:
                found = search.case(joined("and", [conditions[i], conditions[j], *above]))
            except Undecided:
                problems.add(rule.line, f"{what}, or it is too hard to tell: give one of them a higher priority")
                continue
            if found is not None:
                problems.add(rule.line, f"{what}: both are met by {_told(rules, found, (rule, other), conditions)}")


def _groups(
    rules: RuleSet, conditions: Sequence[Condition], alive: set[int], search: Search, problems: Problems
) -> None:
    """Report groups that do not keep their promise."""
    for group, (promise, line) in rules.groups.items():
        places = [i for i, rule in enumerate(rules.rules) if rule.group == group and i in alive]
        try:
            for place, i in enumerate(places):
                for j in places[:place]:
                    found = search.case(joined("and", [conditions[i], conditions[j]]))
                    if found is not None:
                        rule, other = rules.rules[i], rules.rules[j]
                        told = _told(rules, found, (rule, other), conditions)
                        problems.add(
                            rule.line,
                            f"rule {rule.id} contradicts rule {other.id} in line {other.line}: "
                            f"both are met by {told}, and group {group} is {promise}",
                        )
            if promise == "partition":
                found = search.case(joined("and", [negated(conditions[i]) for i in places])) if places else ()
                if found is not None:
                    told = _told(rules, found, (), [conditions[i] for i in places])
                    problems.add(line, f"no rule of group {group} is met by {told}")
        except Undecided:
            problems.add(line, f"whether group {group} is {promise} is too hard to tell: simplify its conditions")


def _bands(rules: RuleSet, problems: Problems) -> None:
    """Report bands of a scorecard that no score reaches, as far as the points alone tell."""
    if rules.kind != "scorecard":
        return
    low = high = rules.base
    grouped: dict[str, list[int]] = {}
    for rule in rules.rules:
        if rule.group:
            grouped.setdefault(rule.group, []).append(rule.points)
        else:
            low, high = low + min(0, rule.points), high + max(0, rule.points)
    for group, points in grouped.items():
        promise, _ = rules.groups.get(group, ("", 0))
        if promise == "partition":
            low, high = low + min(points), high + max(points)
        elif promise == "exclusive":
            low, high = low + min(0, *points), high + max(0, *points)
        else:
            low, high = low + sum(p for p in points if p < 0), high + sum(p for p in points if p > 0)
    for i, band in enumerate(rules.bands):
        if band.least > high:
            problems.add(band.line, "the band is unreachable: no score is as high")
        if band.least <= low and i < len(rules.bands) - 1:
            problems.add(rules.bands[i + 1].line, "the band is unreachable: all scores are above it")


def _told(rules: RuleSet, case: tuple[int, ...], met: tuple[Rule, ...], conditions: Sequence[Condition]) -> str:
    """Return a case in the words of its author: the facts that the rules ask for."""
    asked = set().union(*map(_columns, [conditions[rules.rules.index(rule)] for rule in met] or conditions))
    parts = []
    for column in sorted(asked):
        if column >= len(rules.facts):
            continue
        fact = rules.facts[column]
        n = case[column] if case else fact.lo
        if fact.kind == "choice":
            parts.append(f"{fact.name} = {fact.choices[n]}")
        elif fact.kind == "flag":
            parts.append(f"{fact.name} = {'yes' if n else 'no'}")
        else:
            parts.append(f"{fact.name} = {float(n * fact.resolution):.12g}")
    return ", ".join(parts[:8]) or "every case"


def _columns(condition: Condition) -> set[int]:
    if isinstance(condition, Gate):
        return set().union(*map(_columns, condition.parts))
    return {condition.column} if isinstance(condition, Grade) else {column for column, _ in condition.atom.terms}
