"""From a recorded body to code: a function with a frame of its own, whose loop walks through memory by pointers.

A stage is called with four pointers: to the frame of `main`, into the program, to the output and to the next
range-check cell. They are arguments of `main` or what `call` pushed, and every other pointer is one of them plus a
number of the program's, so no pointer is ever a prover's choice.

The frame then holds, in this order: pointers to data, constants, cells read once, and for each turn of the loop its
state (a pointer for each kind of step through memory, the range-check pointer, the number of turns left) and the
body's cells. Cells keep what they hold, so results are read where they were pushed, and nothing is stored.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from balance_orion import machine
from balance_orion.machine import AP, FP, REACH, Operand, TooLarge

if TYPE_CHECKING:
    from balance_orion.body import Body, Column, Op, Ref
    from balance_orion.code import Code

ARGUMENTS = {"frame": -6, "program": -5, "output": -4, "check": -3}
"""Where a stage finds its arguments, from fp."""
TOP = Operand(AP, 0)


@dataclass
class Placed:
    """A stage in the program: where its cells are, and what it costs."""

    base: int
    """Address of the first turn's first cell, counted from the frame of main."""
    stride: int
    """Cells from one turn to the next."""
    steps: int
    cells: int
    """Cells that the stage pushes in all, its return included."""
    counts: dict[str, int]
    columns: dict[int, int]
    """Addresses of the columns that are the same cell in all turns."""

    def address(self, index: int, turns: int) -> np.ndarray:
        """Return where the cell of one number is, in each turn."""
        return self.base + index + self.stride * np.arange(turns, dtype=np.int64)


@dataclass
class _Walk:
    """Columns that move alike: one pointer serves them all."""

    space: str
    start: int
    steps: np.ndarray
    """Distance from the first turn's position, for each turn."""
    members: dict[int, int] = field(default_factory=dict)
    """Column to displacement."""

    @property
    def step(self) -> int | None:
        """The distance from turn to turn, where it is always the same."""
        differences = np.diff(self.steps)
        if not differences.size:
            return 0
        return int(differences[0]) if (differences == differences[0]).all() else None


class _Writer:
    """Writes one stage."""

    def __init__(self, code: Code, body: Body, frame: int, checks: int, name: str) -> None:
        self.code, self.body, self.frame, self.checks = code, body, frame, checks
        self.name = f"{name}_{code.offset}"
        self.slots: dict[object, Operand] = {}
        self.used = 0
        self.steps = 0
        self.counts: dict[str, int] = defaultdict(int)
        self.walks: list[_Walk] = []
        self.loads: dict[int, tuple[_Walk, int]] = {}
        self.places: dict[object, int] = {}
        self.targets: dict[int, tuple[Operand, int]] = {}
        self.now = 0

    def write(self) -> Placed:
        body, code = self.body, self.code
        code.label(self.name)
        self._walks()
        self._tables()
        self._constants()
        self._steady()
        direct = [walk for walk in self.walks if walk.step is not None]
        listed = [walk for walk in self.walks if walk.step is None]
        schedule = self._schedule(listed)
        state = self._state(direct, schedule)
        loop = body.turns > 1
        before = len(state) + 2 * len(listed)
        base = self.frame + self.used + before
        if loop:
            code.label(f"{self.name}_turn")
        self.start = self.steps
        self._record(direct, listed, before)
        self._next(state, loop=loop, before=before)
        code.put(machine.return_())
        turn = self.steps - self.start
        steps = self.start + turn * body.turns + 1
        for kind, count in body.counts.items():
            self.counts[kind] += count * body.turns
        self.counts["return"] += 1
        stride = before + body.cells
        cells = self.used + stride * body.turns + (len(state) if loop else 0)
        steady = {index: int(column.addresses[0]) for index, column in enumerate(body.columns)}
        return Placed(base, stride, steps, cells, dict(self.counts), steady)

    # -- the frame

    def _walks(self) -> None:
        """Group the columns that move from turn to turn by how they move."""
        groups: dict[tuple[str, bytes], list[int]] = defaultdict(list)
        for index, column in enumerate(self.body.columns):
            moves = column.addresses - column.addresses[0]
            if moves.any() or (self.body.eager and index not in self.body.stores):
                groups[column.space, moves.tobytes()].append(index)
        for (space, _), members in groups.items():
            walk: _Walk | None = None
            for index in sorted(members, key=lambda i: int(self.body.columns[i].addresses[0])):
                column = self.body.columns[index]
                first = int(column.addresses[0])
                if walk is None or first - walk.start >= REACH:
                    walk = _Walk(space, first, column.addresses - first)
                    self.walks.append(walk)
                walk.members[index] = first - walk.start
                self.loads[index] = walk, first - walk.start

    def _slot(self, key: object) -> None:
        if self.used >= REACH:
            raise TooLarge("a layer reads more values at once than an instruction can reach")
        self.slots[key] = Operand(FP, self.used)
        self.used += 1
        self.steps += 1

    def _data_pointer(self, place: int) -> None:
        if ("table", place) not in self.slots:
            word = machine.assert_add_immediate(TOP, Operand(FP, ARGUMENTS["program"]), advance=True)
            self.code.data_distance(word, place)
            self.counts["add"] += 1
            self._slot(("table", place))

    def _tables(self) -> None:
        for place in self.body.tables:
            self._data_pointer(place)

    def _constants(self) -> None:
        for value in self.body.constants:
            self.code.put(machine.assert_immediate(TOP, advance=True), value)
            self.counts["immediate"] += 1
            self._slot(("constant", value))

    def _steady(self) -> None:
        """Read the columns that are the same in all turns, unless code can name their cell as it is."""
        far = []
        for index, column in enumerate(self.body.columns):
            if index in self.loads:
                continue
            address = int(column.addresses[0])
            if column.space == "frame" and index not in self.body.stores and -REACH <= address - self.frame < REACH:
                self.slots["column", index] = Operand(FP, address - self.frame)
            else:
                far.append((column.space, address, index))
        pointer, origin, current = Operand(FP, 0), 0, ""
        for space, address, index in sorted(far):
            if space != current or address - origin >= REACH:
                pointer, origin, current = self._pointer(space, address), address, space
            if index in self.body.stores:
                self.targets[index] = pointer, address - origin
                continue
            self.code.put(machine.assert_deref(TOP, pointer, address - origin, advance=True))
            self.counts["deref"] += 1
            self._slot(("column", index))

    def _pointer(self, space: str, address: int) -> Operand:
        """Make a pointer to one address."""
        if space == "data":
            self._data_pointer(address)
            return self.slots["table", address]
        if address:
            word = machine.assert_add_immediate(TOP, Operand(FP, ARGUMENTS[space]), advance=True)
            self.code.put(word, address)
            self.counts["add"] += 1
            self._slot(("pointer", space, address))
            return self.slots["pointer", space, address]
        return Operand(FP, ARGUMENTS[space])

    def _schedule(self, listed: list[_Walk]) -> int:
        """Put the positions of irregular walks into the data, one row for each turn; returns their place."""
        if not listed:
            return 0
        rows = np.stack([walk.start + walk.steps for walk in listed], axis=1)
        if any(walk.space == "data" for walk in listed):
            self._data_pointer(0)
        place = self.code.store([int(value) for value in rows.reshape(-1)])
        self._data_pointer(place)
        return place

    # -- the loop

    def _state(self, direct: list[_Walk], schedule: int) -> list[tuple[object, int]]:
        """Push the state of the first turn; returns what it is, and how it changes from turn to turn."""
        listed = sum(walk.step is None for walk in self.walks)
        state: list[tuple[object, int]] = []
        for walk in direct:
            state.append((id(walk), walk.step or 0))
            if walk.space == "data":
                self._push_data(walk.start)
            else:
                self._push_sum(ARGUMENTS[walk.space], walk.start)
        if listed:
            self._push_data(schedule)
            state.append(("schedule", listed))
        if self.body.witnesses:
            self._push_sum(ARGUMENTS["check"], self.checks)
            state.append(("check", len(self.body.witnesses)))
        if self.body.turns > 1:
            self.code.put(machine.assert_immediate(TOP, advance=True), self.body.turns)
            self.counts["immediate"] += 1
            state.append(("turns", -1))
            self.steps += 1
        return state

    def _push_sum(self, argument: int, distance: int) -> None:
        word = machine.assert_add_immediate(TOP, Operand(FP, argument), advance=True)
        self.code.put(word, distance)
        self.counts["add"] += 1
        self.steps += 1

    def _push_data(self, place: int) -> None:
        word = machine.assert_add_immediate(TOP, Operand(FP, ARGUMENTS["program"]), advance=True)
        self.code.data_distance(word, place)
        self.counts["add"] += 1
        self.steps += 1

    def _record(self, direct: list[_Walk], listed: list[_Walk], before: int) -> None:
        """Write the body: first the pointers of irregular walks, then every recorded operation."""
        places: dict[object, int] = {id(walk): position - before for position, walk in enumerate(direct)}
        position = len(direct)
        if listed:
            places["schedule"] = position - before
            position += 1
        if self.body.witnesses:
            places["check"] = position - before
        self.places = places
        now = -2 * len(listed)
        for number, walk in enumerate(listed):
            self.code.put(machine.assert_deref(TOP, Operand(AP, places["schedule"] - now), number, advance=True))
            base = self.slots["table", 0] if walk.space == "data" else Operand(FP, ARGUMENTS[walk.space])
            self.code.put(machine.assert_add(TOP, base, Operand(AP, -1), advance=True))
            now += 2
            places[id(walk)] = now - 1
            self.counts["deref"] += self.body.turns
            self.counts["add"] += self.body.turns
            self.steps += 2
        self.now = 0
        for op in self.body.ops:
            self._write(op)
            self.steps += 1
        if self.now != self.body.cells:
            raise AssertionError("the body pushed another number of cells than was recorded")

    def _at(self, position: int) -> Operand:
        if position - self.now < -REACH:
            raise TooLarge("a layer's code needs more cells at once than an instruction can reach")
        return Operand(AP, position - self.now)

    def _operand(self, ref: Ref | None) -> Operand:
        if ref is None:
            raise AssertionError("an operation lacks an operand")
        if ref.kind == "cell":
            return self._at(ref.number)
        return self.slots[ref.kind, ref.number]

    def _write(self, op: Op) -> None:
        self.code.put(*self._words(op))
        if op.kind not in {"store", "assert_add", "assert_mul"}:
            self.now += 1

    def _words(self, op: Op) -> list[int]:  # noqa: PLR0911  # one case for each kind
        """Encode one operation."""
        match op.kind:
            case "load":
                walk, displacement = self.loads[op.number]
                return [machine.assert_deref(TOP, self._at(self.places[id(walk)]), displacement, advance=True)]
            case "check":
                if op.number >= REACH:
                    raise TooLarge("a layer's code checks more cells at once than an instruction can reach")
                return [machine.assert_deref(TOP, self._at(self.places["check"]), op.number, advance=True)]
            case "immediate":
                return [machine.assert_immediate(TOP, advance=True), op.number]
            case "deref":
                return [machine.assert_deref(TOP, self._operand(op.left), op.number, advance=True)]
            case "store":
                pointer, displacement = self._target(op.number)
                return [machine.assert_deref(self._operand(op.left), pointer, displacement, advance=False)]
            case "sub":
                return [machine.assert_add(self._operand(op.left), TOP, self._operand(op.right), advance=True)]
        advance = op.dst is None
        dst = TOP if op.dst is None else self._operand(op.dst)
        product = op.kind.endswith("mul")
        if op.right is None:
            make = machine.assert_mul_immediate if product else machine.assert_add_immediate
            return [make(dst, self._operand(op.left), advance=advance), op.number]
        full = machine.assert_mul if product else machine.assert_add
        return [full(dst, self._operand(op.left), self._operand(op.right), advance=advance)]

    def _target(self, index: int) -> tuple[Operand, int]:
        """Return pointer and displacement of a cell to be stored to."""
        if index in self.loads:
            walk, displacement = self.loads[index]
            return self._at(self.places[id(walk)]), displacement
        return self.targets[index]

    def _next(self, state: list[tuple[object, int]], *, loop: bool, before: int) -> None:
        """Push the state of the next turn, and go back while turns are left."""
        if not loop:
            return
        back = before + self.body.cells
        if back >= REACH:
            raise TooLarge("a layer's code needs more cells at once than an instruction can reach")
        for _, change in state:
            self.code.put(machine.assert_add_immediate(TOP, Operand(AP, -back), advance=True), change)
            self.counts["add"] += self.body.turns
            self.steps += 1
        self.code.go(machine.jump_if_not_zero(Operand(AP, -1)), f"{self.name}_turn")
        self.counts["jump"] += self.body.turns
        self.steps += 1


def write(code: Code, body: Body, frame: int, checks: int, name: str) -> tuple[str, Placed]:
    """Append a stage's code; returns its label, and where its cells will be.

    `frame` is the address of its frame, counted from main's, and `checks` the number of range-check cells used
    before.
    """
    writer = _Writer(code, body, frame, checks, name)
    placed = writer.write()
    return writer.name, placed


def columns_move_alike(columns: list[Column]) -> int:
    """Return how many pointers a list of columns needs at least."""
    seen = {
        (c.space, (c.addresses - c.addresses[0]).tobytes()) for c in columns if (c.addresses != c.addresses[0]).any()
    }
    return len(seen)
