"""A function given by a table that is part of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from balance_core.integer.facts import SAFE, Inadmissible
from balance_core.integer.operations.base import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.codec import Reader, Writer
    from balance_core.integer.facts import Fact, Interval, Shape

MAX_TABLE = 2**16
"""Largest number of entries of a table."""


@dataclass(frozen=True, eq=False)
class Lookup(Operation):
    """The entry of the table that belongs to x; nothing outside the table is ever asked for."""

    code: ClassVar[int] = 12
    name: ClassVar[str] = "lookup"
    arity: ClassVar[int | None] = 1
    meaning: ClassVar[str] = "table[x - first], admissible only if first <= x.lo and x.hi < first + number of entries"
    shape_rule: ClassVar[str] = "the operand's"
    interval_rule: ClassVar[str] = "least and largest entry between x.lo and x.hi"
    attributes: ClassVar[str] = "first; the entries as differences, the first from 0"

    first: int
    table: np.ndarray

    def shape(self, operands: Sequence[Fact]) -> Shape:
        """Return the operand's shape, once its interval is known to stand in the table."""
        x = operands[0]
        if x.lo < self.first or x.hi >= self.first + self.table.size:
            last = self.first + self.table.size - 1
            raise Inadmissible(f"values in [{x.lo}, {x.hi}] are looked up in a table for [{self.first}, {last}]")
        return x.shape

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Return the range of the entries that can be reached."""
        x = operands[0]
        reached = self.table[x.lo - self.first : x.hi - self.first + 1]
        return int(reached.min()), int(reached.max())

    def peak(self, magnitudes: Sequence[int], operands: Sequence[Fact]) -> int:
        """Bound the position and the entry."""
        del operands
        return max(magnitudes[0] + abs(self.first), int(np.abs(self.table).max()))

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Look up."""
        del operands
        return np.take(self.table, arrays[0] - self.first if self.first else arrays[0])

    def write(self, out: Writer) -> None:
        """Append the first position and the entries."""
        out.sint(self.first)
        out.array(np.diff(self.table, prepend=0))

    @classmethod
    def read(cls, source: Reader) -> Self:
        """Take a table from untrusted bytes."""
        first = source.sint()
        entry, entries = 0, []
        for step in source.array(MAX_TABLE).tolist():
            entry += step
            if abs(entry) > SAFE:
                raise source.fail("a table entry is beyond the safe width")
            entries.append(entry)
        if not entries:
            raise source.fail("a table has no entries")
        return cls(first, np.array(entries, dtype=np.int64))

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two look-ups the same."""
        return self.first, self.table.tobytes()
