"""Conditions: comparisons of whole numbers, joined by `and` and `or`; negations are pushed into the comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, lcm
from typing import TYPE_CHECKING
from typing import Literal as OneOf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction

UNIT = 1000
"""Certainties are counted in thousandths."""
MAX_FORM = 2**40
"""Largest magnitude of a sum that is compared."""


@dataclass(frozen=True)
class Atom:
    """A comparison: the sum of a * n over its terms (column, a) is at least `bound`.

    Columns are facts, counted in steps of their resolution. The factors have no common divisor, and the first is
    positive, so that every comparison and its opposite share one atom.
    """

    terms: tuple[tuple[int, int], ...]
    bound: int


@dataclass(frozen=True)
class Literal:
    """An atom, or its opposite."""

    atom: Atom
    positive: bool = True


@dataclass(frozen=True)
class Grade:
    """How certain a column is, in thousandths: of a fact that is itself a certainty, or of a hypothesis."""

    column: int
    positive: bool = True


@dataclass(frozen=True)
class Gate:
    """All of its parts, or any."""

    op: OneOf["and", "or"]
    parts: tuple[Condition, ...]


Condition = Literal | Grade | Gate


def negated(condition: Condition) -> Condition:
    """Return the opposite, without a node for it (De Morgan)."""
    if isinstance(condition, Literal):
        return Literal(condition.atom, not condition.positive)
    if isinstance(condition, Grade):
        return Grade(condition.column, not condition.positive)
    return Gate("or" if condition.op == "and" else "and", tuple(negated(part) for part in condition.parts))


def joined(op: OneOf["and", "or"], parts: list[Condition]) -> Condition:
    """Return all or any of the parts; gates of the same kind are merged."""
    if len(parts) == 1:
        return parts[0]
    flat: dict[Condition, None] = {}
    for part in parts:
        flat |= dict.fromkeys(part.parts if isinstance(part, Gate) and part.op == op else (part,))
    return Gate(op, tuple(flat)) if len(flat) > 1 else next(iter(flat))


def at_least(form: dict[int, Fraction], bound: Fraction) -> Condition | bool:
    """Return the comparison of a sum over columns with a bound, in whole numbers; True or False if nothing varies."""
    terms = {column: factor for column, factor in sorted(form.items()) if factor}
    if not terms:
        return bound <= 0
    scale = lcm(*(factor.denominator for factor in terms.values()))
    whole = {column: int(factor * scale) for column, factor in terms.items()}
    common = gcd(*whole.values())
    least = -((-bound * scale / common).__floor__())  # the ceiling: the sum is a whole number
    reduced = {column: factor // common for column, factor in whole.items()}
    if next(iter(reduced.values())) < 0:
        opposite = Atom(tuple((column, -factor) for column, factor in reduced.items()), 1 - least)
        return Literal(opposite, positive=False)
    return Literal(Atom(tuple(reduced.items()), least))


def compare(form: dict[int, Fraction], op: str, right: Fraction) -> Condition | bool:
    """Return `form op right` for one of < <= = == != >= >, exactly."""
    opposite = {column: -factor for column, factor in form.items()}
    match op:
        case ">=":
            return at_least(form, right)
        case "<=":
            return at_least(opposite, -right)
        case ">":
            return _not(at_least(opposite, -right))
        case "<":
            return _not(at_least(form, right))
    both = at_least(form, right), at_least(opposite, -right)
    if isinstance(both[0], bool) or isinstance(both[1], bool):
        equal: Condition | bool = all(both)
    else:
        equal = joined("and", [both[0], both[1]])
    return equal if op in {"=", "=="} else _not(equal)


def _not(condition: Condition | bool) -> Condition | bool:
    return not condition if isinstance(condition, bool) else negated(condition)


def fires(condition: Condition, threshold: int) -> Condition:
    """Return when a graded condition reaches a threshold, as comparisons alone.

    The least of several values reaches it when all do, the largest when any does.
    """
    if isinstance(condition, Grade):
        bound = threshold if condition.positive else 1 - threshold
        return Literal(Atom(((condition.column, 1),), bound), condition.positive)
    if isinstance(condition, Literal):
        return condition
    return joined(condition.op, [fires(part, threshold) for part in condition.parts])


def atoms(condition: Condition) -> Iterator[Atom]:
    """Yield the comparisons of a condition, in the order in which they are written."""
    if isinstance(condition, Literal):
        yield condition.atom
    elif isinstance(condition, Gate):
        for part in condition.parts:
            yield from atoms(part)


def is_graded(condition: Condition) -> bool:
    """Whether a condition asks how certain something is."""
    return isinstance(condition, Grade) or (
        isinstance(condition, Gate) and any(is_graded(part) for part in condition.parts)
    )


def grades(condition: Condition) -> set[int]:
    """Return the columns whose certainty a condition asks for."""
    if isinstance(condition, Grade):
        return {condition.column}
    return set().union(*map(grades, condition.parts)) if isinstance(condition, Gate) else set()
