"""From a document to a rule set: every field by its own strict rule, every problem with its line."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

from balance_core.converters.rules import analysis, facts
from balance_core.converters.rules.condition import UNIT, Condition, fires, grades, is_graded
from balance_core.converters.rules.document import Flaw, Items, Problems, Table, Text, read
from balance_core.converters.rules.expression import NAME, WORDS, Vocabulary, parse
from balance_core.converters.rules.fields import Fields, number, steps, whole
from balance_core.converters.rules.language import KINDS, Band, Kind, Rule, RuleSet

if TYPE_CHECKING:
    from balance_core.converters.rules.document import Tree

VERSION = "1"
"""The version of the language that this reader knows."""
MAX_RULES = 512
MAX_DECISIONS = 64
MAX_SCORE = 2**31
"""Largest magnitude of points and scores, in steps."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TOP = {"balance-rules", "name", "kind", "about", "facts", "decisions", "default", "rules"}
_TOP_OF: dict[Kind, set[str]] = {
    "decision table": {"score"},
    "scorecard": {"score", "bands", "groups"},
    "certainty": {"hypotheses", "accept", "evidence"},
}
_RULE = {"id", "when", "because", "decide", "priority"}
_RULE_OF: dict[Kind, set[str]] = {
    "decision table": {"score"},
    "scorecard": {"points", "group"},
    "certainty": {"conclude", "certainty"},
}


def rule_set(data: bytes, name: str) -> RuleSet:
    """Read a document; raises ConfigError that names every problem with its line."""
    table = read(data, name)
    problems = Problems(name)
    try:
        found = _Reader(table, problems).rule_set()
    except Flaw as flaw:
        problems.add(flaw.line, str(flaw))
    problems.check()
    conditions = [fires(rule.when, found.evidence) for rule in found.rules]
    analysis.check(found, conditions, problems)
    problems.check()
    return found


class _Reader:
    """Reads the parts in the order in which they need each other."""

    def __init__(self, table: Table, problems: Problems) -> None:
        self.problems = problems
        top = Fields(table, "the document", problems)
        version = top.text("balance-rules")
        if version.value != VERSION:
            raise Flaw(
                version.line,
                f"version {version.value[:20]!r} of the language is unknown: say `balance-rules: {VERSION}`",
            )
        kind = top.text("kind")
        if kind.value not in KINDS:
            raise Flaw(kind.line, f"the kind {kind.value[:40]!r} is unknown: {', '.join(KINDS)}")
        self.kind: Kind = kind.value
        top.only(_TOP | _TOP_OF[self.kind])
        self.top = top
        self.resolution = Fraction(1)

    def rule_set(self) -> RuleSet:
        """Return the rule set; problems that do not stop the reading are noted."""
        top = self.top
        known = facts.read(top.table("facts"), self.problems, certainties=self.kind == "certainty")
        decisions = self._names(top.items("decisions"), {fact.name for fact in known}, MAX_DECISIONS)
        more = (
            self._names(top.items("hypotheses"), {*decisions, *(f.name for f in known)})
            if top.has("hypotheses")
            else ()
        )
        self.decisions = decisions
        concluded = (*decisions, *more) if self.kind == "certainty" else ()
        self.vocabulary = Vocabulary(known, {name: len(known) + i for i, name in enumerate(concluded)})
        default = self._decision(top.text("default"))
        base = self._score_base()
        groups = self._groups()
        rules = self._rules(groups)
        self.problems.check()
        return RuleSet(
            name=top.text("name").value,
            kind=self.kind,
            facts=known,
            decisions=decisions,
            rules=rules,
            default=default,
            base=base,
            resolution=self.resolution,
            bands=self._bands(),
            groups=groups,
            hypotheses=concluded,
            accept=self._certainty("accept", "0.5"),
            evidence=self._certainty("evidence", "0.2"),
        )

    def _names(self, items: Items, taken: set[str], most: int = 256) -> tuple[str, ...]:
        found: list[str] = []
        for item in items.values:
            if not isinstance(item, Text) or not NAME.fullmatch(item.value) or item.value in WORDS:
                raise Flaw(item.line, "a name is letters, digits and _, and none of and, or, not, in, yes, no")
            if item.value in taken or item.value in found:
                raise Flaw(item.line, f"the name {item.value} stands for something else already")
            found.append(item.value)
        if not 1 <= len(found) <= most:
            raise Flaw(items.line, f"1 to {most} names are taken, not {len(found)}")
        return tuple(found)

    def _decision(self, text: Text) -> int:
        if text.value not in self.decisions:
            raise Flaw(text.line, f"{text.value[:60]!r} is no decision: {', '.join(self.decisions)}"[:300])
        return self.decisions.index(text.value)

    def _score_base(self) -> int:
        if not self.top.has("score"):
            return 0
        fields = Fields(self.top.table("score"), "score", self.problems)
        fields.only({"base", "resolution"})
        if fields.has("resolution"):
            text = fields.text("resolution")
            self.resolution = number(text)
            if self.resolution <= 0:
                raise Flaw(text.line, "the resolution of the score is not positive")
        return self._score(fields.text("base")) if fields.has("base") else 0

    def _score(self, text: Text) -> int:
        return steps(text, self.resolution, MAX_SCORE)

    def _groups(self) -> dict[str, tuple[str, int]]:
        if not self.top.has("groups"):
            return {}
        table = self.top.table("groups")
        found = {}
        for name, value in table.values.items():
            if (
                not isinstance(value, Text)
                or value.value not in {"exclusive", "partition"}
                or not NAME.fullmatch(name)
            ):
                raise Flaw(table.lines[name], f"group {name[:40]!r} must be `exclusive` or `partition`")
            found[name] = value.value, table.lines[name]
        return found

    def _bands(self) -> tuple[Band, ...]:
        if self.kind != "scorecard":
            return ()
        bands: list[Band] = []
        for item in self.top.items("bands").values:
            fields = Fields(item, "a band", self.problems)
            fields.only({"from", "decide"})
            band = Band(self._score(fields.text("from")), self._decision(fields.text("decide")), item.line)
            if bands and band.least >= bands[-1].least:
                self.problems.add(item.line, "the band is unreachable: bands go from the highest score to the lowest")
            bands.append(band)
        if not 1 <= len(bands) <= MAX_DECISIONS:
            raise Flaw(self.top.items("bands").line, f"1 to {MAX_DECISIONS} bands are taken, not {len(bands)}")
        return tuple(bands)

    def _certainty(self, key: str, usual: str) -> int:
        text = self.top.text(key) if self.top.has(key) else Text(usual, 1)
        found = steps(text, Fraction(1, UNIT), UNIT)
        if found < 1:
            raise Flaw(text.line, f"{key} is a certainty from 0.001 to 1")
        return found

    def _rules(self, groups: dict[str, tuple[str, int]]) -> tuple[Rule, ...]:
        items = self.top.items("rules")
        if not 1 <= len(items.values) <= MAX_RULES:
            raise Flaw(items.line, f"1 to {MAX_RULES} rules are taken, not {len(items.values)}")
        rules: list[Rule] = []
        seen: dict[str, int] = {}
        for item in items.values:
            try:
                rule = self._rule(item)
            except Flaw as flaw:
                self.problems.add(flaw.line, str(flaw))
                continue
            if rule.id in seen:
                self.problems.add(rule.line, f"the id {rule.id} stands twice, first in line {seen[rule.id]}")
            if rule.group and rule.group not in groups:
                self.problems.add(rule.line, f"group {rule.group} is not among the groups")
            seen[rule.id] = rule.line
            rules.append(rule)
        for name in groups.keys() - {rule.group for rule in rules}:
            self.problems.add(groups[name][1], f"group {name} has no rules")
        if self.kind == "certainty" and not any(rule.conclude is not None for rule in rules):
            self.problems.add(items.line, "no rule concludes anything")
        self._check_order(rules)
        return tuple(rules)

    def _rule(self, item: Tree) -> Rule:
        fields = Fields(item, "a rule", self.problems)
        fields.only(_RULE | _RULE_OF[self.kind])
        identifier = fields.text("id")
        if not _ID.fullmatch(identifier.value):
            raise Flaw(identifier.line, f"the id {identifier.value[:70]!r} is not made of letters, digits, _ . and -")
        effects = [key for key in ("decide", "points", "conclude") if fields.has(key)]
        if len(effects) != 1:
            wanted = {"decision table": "decide", "scorecard": "points or decide", "certainty": "conclude or decide"}
            raise Flaw(item.line, f"rule {identifier.value} needs one effect: {wanted[self.kind]}")
        effect = effects[0]
        for key, owner in (
            ("priority", "decide"),
            ("score", "decide"),
            ("group", "points"),
            ("certainty", "conclude"),
        ):
            if fields.has(key) and effect != owner:
                raise Flaw(fields.text(key).line, f"{key} goes with {owner}, which rule {identifier.value} lacks")
        when = self._when(fields.value("when"))
        if effect != "conclude" and is_graded(when):
            raise Flaw(
                item.line, f"rule {identifier.value} decides: compare certainties with numbers, as in `rash >= 0.5`"
            )
        return Rule(
            id=identifier.value,
            line=item.line,
            when=when,
            decide=self._decision(fields.text("decide")) if effect == "decide" else None,
            priority=whole(fields.text("priority"), 1000) if fields.has("priority") else 0,
            score=self._score(fields.text("score")) if fields.has("score") else 0,
            points=self._score(fields.text("points")) if effect == "points" else 0,
            group=fields.text("group").value if fields.has("group") else "",
            conclude=self._hypothesis(fields.text("conclude")) if effect == "conclude" else None,
            certainty=self._rule_certainty(fields) if effect == "conclude" else 0,
        )

    def _when(self, value: Tree) -> Condition:
        """Read a condition, or a row of tests: a table of facts, all of whose tests must be met."""
        if isinstance(value, Text):
            return parse(value.value, value.line, self.vocabulary)
        if not isinstance(value, Table) or not value.values:
            raise Flaw(value.line, "when is a condition, or a table with a test for each fact")
        tests = []
        for name, test in value.values.items():
            if not isinstance(test, Text) or not NAME.fullmatch(name):
                raise Flaw(value.lines[name], f"the test of {name[:40]!r} is no text")
            words = test.value.strip()
            tests.append(
                f"{name} {words if words[:1] in '<>=!' or words.startswith(('in ', 'not in ')) else '= ' + words}"
            )
        return parse(" and ".join(tests), value.line, self.vocabulary)

    def _hypothesis(self, text: Text) -> int:
        column = self.vocabulary.hypotheses.get(text.value)
        if column is None:
            known = ", ".join(self.vocabulary.hypotheses)
            raise Flaw(text.line, f"{text.value[:60]!r} is neither a decision nor a hypothesis: {known}"[:300])
        return column - len(self.vocabulary.facts)

    def _rule_certainty(self, fields: Fields) -> int:
        text = fields.text("certainty")
        found = steps(text, Fraction(1, UNIT), UNIT)
        if not found:
            raise Flaw(text.line, "a rule of certainty 0 says nothing: give -1 to 1")
        return found

    def _check_order(self, rules: list[Rule]) -> None:
        """Report hypotheses that depend on themselves, and those that rules ask for and none concludes."""
        first = len(self.vocabulary.facts)
        needs: dict[int, set[int]] = {}
        for rule in rules:
            asked = {column - first for column in grades(rule.when) if column >= first}
            if rule.conclude is not None:
                needs.setdefault(rule.conclude, set()).update(asked)
        names = list(self.vocabulary.hypotheses)
        for rule in rules:
            for column in sorted(grades(rule.when)):
                if column >= first and column - first not in needs:
                    self.problems.add(
                        rule.line, f"rule {rule.id} asks for {names[column - first]}, which no rule concludes"
                    )
        settled: set[int] = set()
        while ready := {h for h, asked in needs.items() if h not in settled and asked & needs.keys() <= settled}:
            settled |= ready
        for rule in rules:
            if rule.conclude is not None and rule.conclude in needs.keys() - settled:
                self.problems.add(
                    rule.line, f"rule {rule.id} is in a circle: {names[rule.conclude]} depends on itself"
                )
