"""The texts of conditions: `temperature >= 38.0 and (cough or not vaccinated)`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NoReturn

from balance_core.converters.rules.analysis import never
from balance_core.converters.rules.condition import (
    MAX_FORM,
    Atom,
    Condition,
    Grade,
    Literal,
    atoms,
    compare,
    joined,
    negated,
)
from balance_core.converters.rules.document import Flaw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from balance_core.converters.rules.language import Fact

MAX_TOKENS = 512
"""Most words of one condition."""
MAX_DEPTH = 16
"""Deepest nesting of parentheses and negations."""
WORDS = frozenset({"and", "or", "not", "in", "yes", "no"})
"""Names that no fact can have."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_TOKEN = re.compile(r"\s*(?:(\d{1,18}(?:\.\d{1,9})?)|([A-Za-z_][A-Za-z0-9_]{0,63})|(<=|>=|!=|==|[<>=()+\-*,]))")
_COMPARISONS = frozenset({"<", "<=", "=", "==", "!=", ">=", ">"})
_CHAINS = ({"<", "<="}, {">", ">="})


@dataclass(frozen=True)
class Vocabulary:
    """The names that conditions may use; columns number the facts, then the hypotheses."""

    facts: Sequence[Fact]
    hypotheses: Mapping[str, int]

    def fact(self, name: str) -> tuple[int, Fact] | None:
        """Return a fact and its column."""
        return next(((i, fact) for i, fact in enumerate(self.facts) if fact.name == name), None)


def parse(text: str, line: int, vocabulary: Vocabulary) -> Condition:
    """Return the condition that a text says; raises Flaw."""
    parser = _Parser(_tokens(text, line), line, vocabulary)
    condition = parser.either(0)
    if parser.token():
        parser.wrong(f"{parser.token()!r} does not continue the condition")
    return condition


def _tokens(text: str, line: int) -> list[str]:
    tokens: list[str] = []
    at = 0
    stripped = text.rstrip()
    while at < len(stripped):
        found = _TOKEN.match(stripped, at)
        if found is None or len(tokens) >= MAX_TOKENS:
            what = f"longer than {MAX_TOKENS} words" if found else f"not understood at {stripped[at : at + 20]!r}"
            raise Flaw(line, f"the condition is {what}")
        tokens.append(found[0].strip())
        at = found.end()
    if not tokens:
        raise Flaw(line, "the condition is empty")
    return tokens


@dataclass
class _Sum:
    """A sum of facts and a number, in the units of the facts."""

    form: dict[int, Fraction]
    constant: Fraction
    units: dict[str, str]
    """The unit of each fact that stands without a factor, with the fact's name."""


class _Parser:
    """Recursive descent; `not` binds tightest, then `and`, then `or`."""

    def __init__(self, tokens: list[str], line: int, vocabulary: Vocabulary) -> None:
        self.tokens = tokens
        self.line = line
        self.vocabulary = vocabulary
        self.at = 0

    def token(self) -> str:
        """Return the word that comes next, an empty one at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def wrong(self, what: str) -> NoReturn:
        """Raise a Flaw."""
        raise Flaw(self.line, what)

    def _take(self) -> str:
        token = self.token()
        self.at += 1
        return token

    def _expect(self, wanted: str) -> None:
        if self._take() != wanted:
            self.wrong(f"{wanted!r} is missing before {self.tokens[self.at - 1 : self.at + 2] or 'the end'}")

    def either(self, depth: int) -> Condition:
        """Read conditions joined by `or`."""
        parts = [self._both(depth)]
        while self.token() == "or":
            self.at += 1
            parts.append(self._both(depth))
        return joined("or", parts)

    def _both(self, depth: int) -> Condition:
        parts = [self._one(depth)]
        while self.token() == "and":
            self.at += 1
            parts.append(self._one(depth))
        return joined("and", parts)

    def _one(self, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            self.wrong(f"the condition is nested deeper than {MAX_DEPTH}")
        if self.token() == "not":
            self.at += 1
            return negated(self._one(depth + 1))
        if self.token() == "(":
            self.at += 1
            inner = self.either(depth + 1)
            self._expect(")")
            return inner
        return self._by_name() or self._comparison()

    def _by_name(self) -> Condition | None:
        """Read a flag, a certainty that stands alone, or a question about a choice."""
        name, after = self.token(), (self.tokens[self.at + 1 : self.at + 2] or [""])[0]
        found = self.vocabulary.fact(name)
        alone = after in {"", "and", "or", ")"}
        if name in self.vocabulary.hypotheses:
            if not alone:
                self.wrong(f"{name} is a hypothesis: it stands alone, and is as true as it is certain")
            self.at += 1
            return Grade(self.vocabulary.hypotheses[name])
        if found is None:
            return None
        column, fact = found
        if fact.kind in {"choice", "flag"}:
            self.at += 1
            return self._choice(column, fact) if fact.kind == "choice" else self._flag(column, fact, alone=alone)
        if alone and fact.kind == "number":
            self.wrong(f"{name} is a number: compare it with one")
        if alone:
            self.at += 1
        return Grade(column) if alone else None

    def _flag(self, column: int, fact: Fact, *, alone: bool) -> Condition:
        flag = Literal(Atom(((column, 1),), 1))
        if alone:
            return flag
        op, word = self._take(), self._take()
        if op not in {"=", "==", "!="} or word not in {"yes", "no"}:
            name = fact.name
            self.wrong(f"{name} is a flag: say `{name}`, `not {name}`, `{name} = yes` or `{name} = no`")
        return flag if (op == "!=") == (word == "no") else negated(flag)

    def _choice(self, column: int, fact: Fact) -> Condition:
        op = self._take()
        reverse = op == "not" and self.token() == "in"
        if reverse:
            op = self._take()
        names = []
        if op == "in":
            self._expect("(")
            names.append(self._take())
            while self.token() == ",":
                self.at += 1
                names.append(self._take())
            self._expect(")")
        elif op in {"=", "==", "!="}:
            reverse = op == "!="
            names.append(self._take())
        else:
            self.wrong(f"{fact.name} is a choice: say `{fact.name} = {fact.choices[0]}`, or `in (...)`")
        strange = [name for name in names if name not in fact.choices]
        if strange:
            self.wrong(f"{strange[0]!r} is no choice of {fact.name}: {', '.join(fact.choices)}")
        equal = [compare({column: Fraction(1)}, "=", Fraction(fact.choices.index(name))) for name in names]
        found = joined("or", [part for part in equal if not isinstance(part, bool)])
        return negated(found) if reverse else found

    def _comparison(self) -> Condition:
        sides = [self._sum()]
        ops: list[str] = []
        while self.token() in _COMPARISONS and len(ops) < 2:
            ops.append(self._take())
            sides.append(self._sum())
        if not ops:
            self.wrong(f"a comparison is missing after {self.tokens[self.at - 1]!r}")
        if len(ops) == 2 and not any(set(ops) <= chain for chain in _CHAINS):
            self.wrong(f"`{ops[0]}` and `{ops[1]}` do not make a range: say `18 <= age < 25`")
        return joined("and", [self._compared(sides[i], op, sides[i + 1]) for i, op in enumerate(ops)])

    def _compared(self, left: _Sum, op: str, right: _Sum) -> Condition:
        units = left.units | right.units
        if len(set(units.values())) > 1:
            (a, first), (b, second) = list({unit: name for name, unit in units.items()}.items())[:2]
            self.wrong(
                f"{first} ({a or 'no unit'}) and {second} ({b or 'no unit'}) have different units: give factors"
            )
        form = dict(left.form)
        for column, factor in right.form.items():
            form[column] = form.get(column, Fraction(0)) - factor
        found = compare(form, op, right.constant - left.constant)
        if isinstance(found, bool):
            self.wrong(f"a comparison is always {'true' if found else 'false'}: it asks for no fact")
        if never(found, self.vocabulary.facts):
            names = ", ".join(sorted(self.vocabulary.facts[column].name for column in form))
            self.wrong(f"a comparison is never true within the ranges of {names}")
        low, high = reach(found, self.vocabulary.facts)
        if max(-low, high) > MAX_FORM:
            self.wrong("a comparison needs numbers that are too large: lower a range or a resolution")
        return found

    def _sum(self) -> _Sum:
        total = _Sum({}, Fraction(0), {})
        sign = 1
        if self.token() == "-":
            self.at += 1
            sign = -1
        self._term(total, sign)
        while self.token() in {"+", "-"}:
            self._term(total, 1 if self._take() == "+" else -1)
        return total

    def _term(self, total: _Sum, sign: int) -> None:
        first = self._factor()
        second = None
        if self.token() == "*":
            self.at += 1
            second = self._factor()
        numbers = [value for value in (first, second) if isinstance(value, Fraction)]
        names = [value for value in (first, second) if isinstance(value, str)]
        if len(names) > 1:
            self.wrong(f"{names[0]} * {names[1]} multiplies two facts: only a number and a fact can be")
        factor = Fraction(sign)
        for number in numbers:
            factor *= number
        if not names:
            total.constant += factor
            return
        column, fact = self._number_fact(names[0])
        total.form[column] = total.form.get(column, Fraction(0)) + factor * fact.resolution
        if not numbers:
            total.units[fact.name] = fact.unit

    def _factor(self) -> Fraction | str:
        token = self._take()
        if token[:1].isdigit():
            return Fraction(token)
        if NAME.fullmatch(token) and token not in WORDS:
            return token
        raise Flaw(
            self.line, f"a fact or a number is missing before {token!r}" if token else "the condition ends too early"
        )

    def _number_fact(self, name: str) -> tuple[int, Fact]:
        found = self.vocabulary.fact(name)
        if found is None:
            known = ", ".join([*(fact.name for fact in self.vocabulary.facts), *self.vocabulary.hypotheses][:12])
            self.wrong(f"{name!r} is no fact: there are {known}")
        if found[1].kind not in {"number", "certainty"}:
            self.wrong(f"{name} is a {found[1].kind}, no number")
        return found


def reach(condition: Condition, facts: Sequence[Fact]) -> tuple[int, int]:
    """Return the least and largest value of the sums in a condition, over the facts' ranges, and of their bounds."""
    ends = [0]
    for atom in atoms(condition):
        both = [sorted((factor * facts[column].lo, factor * facts[column].hi)) for column, factor in atom.terms]
        ends += [sum(low for low, _ in both), sum(high for _, high in both), atom.bound]
    return min(ends), max(ends)
