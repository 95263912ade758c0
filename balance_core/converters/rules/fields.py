"""The fields of a table, each asked for by name, and the numbers that their texts stand for."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

from balance_core.converters.rules.document import Flaw, Items, Table, Text

if TYPE_CHECKING:
    from balance_core.converters.rules.document import Problems, Tree

_NUMBER = re.compile(r"[+-]?\d{1,18}(?:\.\d{1,9})?")


class Fields:
    """A table of which each field has one meaning."""

    def __init__(self, tree: Tree, what: str, problems: Problems) -> None:
        if not isinstance(tree, Table):
            raise Flaw(tree.line, f"{what} is no table of `key: value` lines")
        self.tree = tree
        self.what = what
        self.problems = problems

    def only(self, known: set[str]) -> None:
        """Note the fields that are not known."""
        for key in self.tree.values:
            if key not in known:
                self.problems.add(
                    self.tree.lines[key], f"{self.what} has no field {key[:40]!r}: it has {', '.join(sorted(known))}"
                )

    def has(self, key: str) -> bool:
        """Whether the field is given."""
        return key in self.tree.values

    def value(self, key: str) -> Tree:
        """Return a field of any form."""
        if key not in self.tree.values:
            raise Flaw(self.tree.line, f"{self.what} lacks the field {key!r}")
        found: Tree = self.tree.values[key]
        return found

    def text(self, key: str) -> Text:
        """Return a field that is one text."""
        found = self.value(key)
        if not isinstance(found, Text) or not found.value.strip():
            raise Flaw(self.tree.lines[key], f"{key} must be one value")
        return found

    def table(self, key: str) -> Table:
        """Return a field that is a table."""
        found = self.value(key)
        if not isinstance(found, Table):
            raise Flaw(self.tree.lines[key], f"{key} must be a table")
        return found

    def items(self, key: str) -> Items:
        """Return a field that is a list."""
        found = self.value(key)
        if not isinstance(found, Items):
            raise Flaw(self.tree.lines[key], f"{key} must be a list")
        return found


def number(text: Text) -> Fraction:
    """Return an exact decimal number."""
    if not _NUMBER.fullmatch(text.value.strip()):
        raise Flaw(text.line, f"{text.value[:40]!r} is no number, such as 12 or -0.25")
    return Fraction(text.value.strip())


def steps(text: Text, resolution: Fraction, most: int) -> int:
    """Return a number as a count of steps, exactly."""
    found = number(text) / resolution
    if found.denominator != 1:
        raise Flaw(text.line, f"{text.value} is no multiple of the resolution, {float(resolution):g}")
    if abs(found) > most:
        raise Flaw(text.line, f"{text.value} is more than {most} steps of {float(resolution):g}")
    return int(found)


def whole(text: Text, most: int) -> int:
    """Return a whole number."""
    return steps(text, Fraction(1), most)
