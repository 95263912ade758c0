"""What a rule set says, after it has been read: facts, rules and how they come to a decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from balance_core.converters.rules.condition import Condition

Kind = Literal["decision table", "scorecard", "certainty"]
KINDS: tuple[Kind, ...] = ("decision table", "scorecard", "certainty")
FactKind = Literal["number", "flag", "choice", "certainty"]


@dataclass(frozen=True)
class Fact:
    """Something known of a case: a whole number n of steps in [lo, hi], whose value is n * resolution."""

    name: str
    kind: FactKind
    lo: int
    hi: int
    line: int
    resolution: Fraction = Fraction(1)
    unit: str = ""
    choices: tuple[str, ...] = ()
    """The names of the numbers 0, 1, 2 ... of a choice."""


@dataclass(frozen=True)
class Rule:
    """One rule. It has an effect of the set's kind: a decision, points, or a conclusion with its certainty."""

    id: str
    line: int
    when: Condition
    decide: int | None = None
    """The number of the decision that it makes."""
    priority: int = 0
    score: int = 0
    """What the score is when it decides (decision tables), in steps."""
    points: int = 0
    """What it adds to the score (scorecards), in steps."""
    group: str = ""
    conclude: int | None = None
    """The number of the hypothesis that it speaks for or against."""
    certainty: int = 0
    """How certainly, in thousandths; against it when negative."""


@dataclass(frozen=True)
class Band:
    """Scores of at least `least` steps make this decision, unless a higher band does."""

    least: int
    decide: int
    line: int


@dataclass(frozen=True)
class RuleSet:
    """A whole rule set."""

    name: str
    kind: Kind
    facts: tuple[Fact, ...]
    decisions: tuple[str, ...]
    rules: tuple[Rule, ...]
    default: int
    base: int = 0
    """The score before any rule (decision tables: of the default), in steps."""
    resolution: Fraction = Fraction(1)
    """One step of the score."""
    bands: tuple[Band, ...] = ()
    groups: dict[str, tuple[str, int]] = field(default_factory=dict)
    """What is promised of the rules of a group, `exclusive` or `partition`, and the line that promises it."""
    hypotheses: tuple[str, ...] = ()
    """Every name that rules conclude: first the decisions, by number, then the intermediate ones."""
    accept: int = 0
    """The least certainty, in thousandths, that makes a hypothesis the decision."""
    evidence: int = 0
    """The least certainty, in thousandths, of a condition that lets its rule fire."""

    @property
    def deciding(self) -> tuple[int, ...]:
        """The rules that decide by themselves, the first in rank first."""
        places = [i for i, rule in enumerate(self.rules) if rule.decide is not None]
        return tuple(sorted(places, key=lambda i: (-self.rules[i].priority, i)))
