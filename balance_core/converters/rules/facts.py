"""The declarations of facts."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from balance_core.converters.rules.condition import UNIT
from balance_core.converters.rules.document import Flaw, Items, Table, Text
from balance_core.converters.rules.expression import NAME, WORDS
from balance_core.converters.rules.fields import Fields, number, steps
from balance_core.converters.rules.language import Fact

if TYPE_CHECKING:
    from balance_core.converters.rules.document import Problems, Tree

MAX_FACTS = 256
MAX_CHOICES = 256
MAX_STEPS = 2**31
"""Largest magnitude of a fact, in steps of its resolution."""


def read(table: Table, problems: Problems, *, certainties: bool) -> tuple[Fact, ...]:
    """Return the facts in their order; `certainties` says whether there may be graded ones."""
    found = []
    if not 1 <= len(table.values) <= MAX_FACTS:
        raise Flaw(table.line, f"1 to {MAX_FACTS} facts are taken, not {len(table.values)}")
    for name, value in table.values.items():
        try:
            found.append(_named(name, value, table.lines[name], problems, certainties=certainties))
        except Flaw as flaw:
            problems.add(flaw.line, str(flaw))
    problems.check()
    return tuple(found)


def _named(name: str, value: Tree, line: int, problems: Problems, *, certainties: bool) -> Fact:
    if not NAME.fullmatch(name) or name in WORDS:
        raise Flaw(line, f"the name {name[:70]!r} is not letters, digits and _, or means something else")
    fact = _fact(name, value, line, problems)
    if fact.kind == "certainty" and not certainties:
        raise Flaw(line, f"{name} is a certainty: only rule sets of the kind certainty have them")
    return fact


def _fact(name: str, value: Tree, line: int, problems: Problems) -> Fact:
    if isinstance(value, Text) and value.value == "flag":
        return Fact(name, "flag", 0, 1, line)
    if isinstance(value, Text) and value.value == "certainty":
        return Fact(name, "certainty", -UNIT, UNIT, line, Fraction(1, UNIT))
    if isinstance(value, Items):
        choices = tuple(item.value if isinstance(item, Text) else "" for item in value.values)
        if not 2 <= len(choices) <= MAX_CHOICES or len(set(choices)) < len(choices):
            raise Flaw(line, f"the choices of {name} are not 2 to {MAX_CHOICES} distinct names")
        if not all(NAME.fullmatch(choice) and choice not in WORDS - {"yes", "no"} for choice in choices):
            raise Flaw(line, f"the choices of {name} are not all names: letters, digits and _")
        return Fact(name, "choice", 0, len(choices) - 1, line, choices=choices)
    if not isinstance(value, Table):
        raise Flaw(line, f"{name} is neither `flag`, `certainty`, a list of choices, nor a table with a range")
    fields = Fields(value, f"the fact {name}", problems)
    fields.only({"range", "resolution", "unit", "about"})
    resolution = number(fields.text("resolution")) if fields.has("resolution") else Fraction(1)
    if resolution <= 0:
        raise Flaw(line, f"the resolution of {name} is not positive")
    ends = fields.items("range")
    if len(ends.values) != 2 or not all(isinstance(end, Text) for end in ends.values):
        raise Flaw(ends.line, f"the range of {name} is not [least, largest]")
    lo, hi = (steps(end, resolution, MAX_STEPS) for end in ends.values)
    if lo >= hi:
        raise Flaw(ends.line, f"the range of {name} holds less than two values")
    unit = fields.text("unit").value if fields.has("unit") else ""
    return Fact(name, "number", lo, hi, line, resolution, unit)
