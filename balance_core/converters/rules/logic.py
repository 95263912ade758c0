"""Conditions without grades: all comparisons at once, then gates level by level, each a count of what holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.converters.rules.condition import Atom, Condition, Gate, Literal, atoms
from balance_core.errors import UnsupportedModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.converters.rules.builder import Builder

MAX_WIRES = 2**20
"""Most inputs of all gates together, padding included."""


class Logic:
    """Knows for each condition the column of 0 and 1 that says whether it holds."""

    def __init__(self, build: Builder, facts: str, width: int, conditions: Sequence[Condition]) -> None:
        self._build = build
        self._column: dict[Condition, int] = {}
        compared = list(dict.fromkeys(atom for condition in conditions for atom in atoms(condition)))
        self._values = ""
        if compared:
            held = self._compare(facts, width, compared)
            self._values = build.join([held, build.opposite(held)])
            for place, atom in enumerate(self._order):
                self._column[Literal(atom)] = place
                self._column[Literal(atom, positive=False)] = place + len(compared)
        gates: dict[int, dict[Condition, None]] = {}
        for condition in conditions:
            _by_depth(condition, gates)
        wires = 0
        for depth in sorted(gates):
            wires += self._level([gate for gate in gates[depth] if isinstance(gate, Gate)])
            if wires > MAX_WIRES:
                raise UnsupportedModel("the conditions are too large together", hint="split the rule set")

    def _compare(self, facts: str, width: int, compared: list[Atom]) -> str:
        """Return 1 for each comparison that holds: those of one fact are read off, sums are a product of matrices."""
        build = self._build
        single = [atom for atom in compared if len(atom.terms) == 1]
        several = [atom for atom in compared if len(atom.terms) > 1]
        parts = []
        if single:
            parts.append(build.pick(facts, [atom.terms[0][0] for atom in single]))
        if several:
            matrix = np.zeros((width, len(several)), dtype=np.int64)
            for place, atom in enumerate(several):
                for column, factor in atom.terms:
                    matrix[column, place] = factor
            parts.append(build.matmul(facts, matrix))
        self._order = [*single, *several]
        return build.greater(build.join(parts), np.array([[atom.bound - 1 for atom in self._order]]))

    def _level(self, gates: list[Gate]) -> int:
        """Add the gates of one depth; each counts as many of its parts, the last repeated, as the widest has."""
        most = max(len(gate.parts) for gate in gates)
        columns = np.zeros((len(gates), most), dtype=np.int64)
        for place, gate in enumerate(gates):
            found = [self._column[part] for part in gate.parts]
            columns[place] = found + [found[-1]] * (most - len(found))
        enough = np.array([[most - 1 if gate.op == "and" else 0 for gate in gates]])
        held = self._build.greater(self._build.sums(self._values, columns), enough)
        first = self._build.width(self._values)
        self._values = self._build.join([self._values, held])
        for place, gate in enumerate(gates):
            self._column[gate] = first + place
        return columns.size

    def columns(self, conditions: Sequence[Condition]) -> str:
        """Return [N, conditions]: 1 for each that holds; each must be among those that were given."""
        return self._build.pick(self._values, [self._column[condition] for condition in conditions])


def _by_depth(condition: Condition, gates: dict[int, dict[Condition, None]]) -> int:
    """Sort the gates of a condition by their height above the comparisons, which is returned."""
    if not isinstance(condition, Gate):
        return 0
    depth = 1 + max(_by_depth(part, gates) for part in condition.parts)
    gates.setdefault(depth, {})[condition] = None
    return depth
