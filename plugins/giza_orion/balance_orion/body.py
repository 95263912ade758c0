"""Straight-line code over cells, recorded symbolically: what one turn of a stage's loop does.

Every operation pushes one cell, or asserts something about cells that exist. A cell's value is therefore fixed by the
program, by what was loaded and by the range-checked cells, which are the only ones that a prover chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from balance_orion.machine import P

if TYPE_CHECKING:
    import numpy as np

SMALL_SUM = 2**29
"""A sum all of whose terms stay below this in magnitude takes the prover's narrow component."""
SMALL_PRODUCT = 2**36
"""A product both of whose factors are in [0, this) takes the prover's narrow component."""


class Ref(NamedTuple):
    """A cell that code can name: `kind` is one of the following.

    cell      the cell pushed as number `index` in this turn
    constant  the cell of the stage's frame that holds the number `index`
    column    the cell that holds the external value number `index`, the same one in all turns
    table     the cell of the stage's frame that points `index` words into the program's data
    """

    kind: str
    number: int


@dataclass(frozen=True, eq=False)
class Column:
    """One external cell for each turn: where it is, counted from its space's own pointer, and bounds of its value."""

    space: str
    """`frame` (the cells of this run), `output` (the builtin's segment) or `data` (of the program)."""
    addresses: np.ndarray
    lo: int
    hi: int


class Op(NamedTuple):
    """One recorded instruction: its kind, its operands, and a number (an immediate, an offset, a place in a list)."""

    kind: str
    left: Ref | None = None
    right: Ref | None = None
    number: int = 0
    dst: Ref | None = None


class Witness(NamedTuple):
    """What a range-checked cell holds: the source's element of each turn."""

    source: int
    elements: np.ndarray


class Body:
    """A recording of `turns` turns of the same code.

    An `eager` one reads every external cell into a cell of its own at that point of the code; others name cells that
    are the same in all turns where they are, or read them once.
    """

    def __init__(self, turns: int, *, eager: bool = False) -> None:
        self.turns = turns
        self.eager = eager
        self.ops: list[Op] = []
        self.columns: list[Column] = []
        self.witnesses: list[Witness] = []
        self.cells = 0
        self.bounds: dict[Ref, tuple[int, int]] = {}
        self.constants: dict[int, Ref] = {}
        self.tables: dict[int, Ref] = {}
        self.counts: dict[str, int] = {}
        self.stores: set[int] = set()
        self._known: dict[tuple[object, ...], Ref] = {}

    # -- cells that exist already

    def constant(self, value: int) -> Ref:
        """Return a cell that holds a number."""
        ref = Ref("constant", value % P)
        self.constants[value % P] = ref
        self.bounds[ref] = (value, value)
        return ref

    def table(self, place: int) -> Ref:
        """Return a cell that points at a place in the program's data."""
        ref = Ref("table", place)
        self.tables[place] = ref
        self.bounds[ref] = (0, SMALL_SUM - 1)
        return ref

    def load(self, column: Column) -> Ref:
        """Return the cell of an external value; one that differs from turn to turn is read through a pointer."""
        key = (column.space, column.addresses.tobytes())
        if key not in self._known:
            index = len(self.columns)
            self.columns.append(column)
            steady = bool((column.addresses == column.addresses[0]).all())
            ref = Ref("column", index) if steady and not self.eager else self._push(Op("load", number=index))
            self._known[key] = ref
            self.bounds[ref] = (column.lo, column.hi)
        return self._known[key]

    # -- new cells

    def checked(self, source: int, elements: np.ndarray, lo: int, hi: int) -> Ref:
        """Push a cell that the prover chooses, in [0, 2^128); an honest one stays in [lo, hi]."""
        ref = self._push(Op("check", number=len(self.witnesses)))
        self.witnesses.append(Witness(source, elements))
        self.bounds[ref] = (lo, hi)
        return ref

    def push(self, value: int) -> Ref:
        """Push a number."""
        ref = self._push(Op("immediate", number=value))
        self.bounds[ref] = (value, value)
        return ref

    def copy(self, ref: Ref) -> Ref:
        """Push what another cell holds."""
        return self._pure("add", ref, 0)

    def add(self, left: Ref, right: Ref | int) -> Ref:
        """Push left + right."""
        if isinstance(right, int) and right == 0:
            return left
        return self._pure("add", left, right)

    def mul(self, left: Ref, right: Ref | int) -> Ref:
        """Push left * right."""
        if isinstance(right, int) and right == 1:
            return left
        return self._pure("mul", left, right)

    def sub(self, left: Ref, right: Ref) -> Ref:
        """Push left - right, as the cell z with left = z + right."""
        return self._pure("sub", left, right)

    def entry(self, pointer: Ref, offset: int, lo: int, hi: int) -> Ref:
        """Push what stands `offset` cells behind where a cell points to."""
        key = ("deref", pointer, offset)
        if key not in self._known:
            self._known[key] = self._push(Op("deref", pointer, number=offset))
            self.bounds[self._known[key]] = (lo, hi)
        return self._known[key]

    # -- assertions

    def assert_add(self, total: Ref, left: Ref, right: Ref | int) -> None:
        """Assert total = left + right."""
        self._count("add", (total, left, right))
        self.ops.append(_op("assert_add", left, right, total))

    def assert_mul(self, product: Ref, left: Ref, right: Ref) -> None:
        """Assert product = left * right."""
        self._count("mul", (left, right))
        self.ops.append(_op("assert_mul", left, right, product))

    def store(self, value: Ref, column: Column) -> None:
        """Assert that an external cell holds a value."""
        self._count("deref", ())
        self.ops.append(Op("store", value, number=len(self.columns)))
        self.stores.add(len(self.columns))
        self.columns.append(column)

    # -- how it is recorded

    def _pure(self, kind: str, left: Ref, right: Ref | int) -> Ref:
        key = (kind, left, right)
        if key in self._known:
            return self._known[key]
        (a, b), (c, d) = self.bounds[left], self._bounds(right)
        if kind == "add":
            bounds = a + c, b + d
        elif kind == "sub":
            bounds = a - d, b - c
        else:
            corners = a * c, a * d, b * c, b * d
            bounds = min(corners), max(corners)
        ref = Ref("cell", self.cells)
        self.bounds[ref] = bounds
        self._count("mul" if kind == "mul" else "add", (left, right) if kind == "mul" else (ref, left, right))
        self.ops.append(_op(kind, left, right))
        self.cells += 1
        self._known[key] = ref
        return ref

    def _push(self, op: Op) -> Ref:
        self._count("immediate" if op.kind == "immediate" else "deref", ())
        self.ops.append(op)
        self.cells += 1
        return Ref("cell", self.cells - 1)

    def _bounds(self, operand: Ref | int) -> tuple[int, int]:
        return (operand, operand) if isinstance(operand, int) else self.bounds[operand]

    def _count(self, kind: str, operands: tuple[Ref | int, ...]) -> None:
        ranges = [self._bounds(operand) for operand in operands]
        if kind == "add" and any(lo <= -SMALL_SUM or hi >= SMALL_SUM for lo, hi in ranges):
            kind = "add_wide"
        if kind == "mul" and any(lo < 0 or hi >= SMALL_PRODUCT for lo, hi in ranges):
            kind = "mul_wide"
        self.counts[kind] = self.counts.get(kind, 0) + 1


def _op(kind: str, left: Ref, right: Ref | int, dst: Ref | None = None) -> Op:
    if isinstance(right, int):
        return Op(kind, left, None, right, dst)
    return Op(kind, left, right, 0, dst)
