"""The code generator: an integer model with its weights becomes one Cairo program.

Nodes are taken in order. One that only renames or gathers costs nothing: cells are never moved. Any other begins a
stage, which takes along the element-wise nodes that can follow at once, and becomes a function of its own (`stage`).
`main` finds its own place in memory, calls the stages one after the other, and returns the builtins' pointers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import ConfigError
from balance_core.integer.operations import Conv2d, MatMul, Wire
from balance_orion import machine, stage
from balance_orion.bounds import element_bounds
from balance_orion.code import Code
from balance_orion.emitter import Emitter, Knowledge, Value, View
from balance_orion.kernels import constant, wire
from balance_orion.kernels import input as inputs
from balance_orion.layers import ELEMENTWISE, MAX_MEMBERS, is_renaming, uses_of
from balance_orion.machine import AP, FP, Operand
from balance_orion.parts import Part, element_parts, output_parts
from balance_orion.products import linear_parts
from balance_orion.program import Layer, Program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.model import IntegerModel

TOP = Operand(AP, 0)
_FRAME, _PROGRAM, _ZERO = 2, 3, 4
"""Cells of main's frame: its own address, the program's, and a zero."""
_LOCALS = 5


def generate(model: IntegerModel) -> Program:
    """Return the program of a model with its weights.

    Raises ConfigError for a model without weights, and `machine.TooLarge` for a layer that no loop can take.
    """
    if len(model.weights) != len(model.weight_nodes):
        raise ConfigError("a program holds the weights: this integer model has none")
    return _Generator(model).program()


class _Generator:
    def __init__(self, model: IntegerModel) -> None:
        self.model = model
        self.code = Code()
        digest = bytes.fromhex(model.digest)
        self.code.store([0, *(int.from_bytes(digest[start : start + 16], "big") for start in (0, 16))])
        flat = {place: (lo.reshape(-1), hi.reshape(-1)) for place, (lo, hi) in enumerate(element_bounds(model))}
        self.known = Knowledge(model, self.code, flat, zero=_ZERO)
        self.uses = uses_of(model)
        self.layers: list[Layer] = []
        self.calls: list[str] = []
        self.top = _LOCALS
        self.checks = 0
        self.check_sources: list[np.ndarray] = []
        self.check_elements: list[np.ndarray] = []
        self.scratch = -1
        self.done: set[int] = set()
        """Nodes of stages that are written; some exist nowhere, for a table or a packed sum went past them."""

    def program(self) -> Program:
        """Write everything."""
        first = 0
        for place, _ in self.model.inputs:
            size = self.model.facts[place].size
            self.known.views[place] = inputs.view(first, size)
            first += size
        for place, (lo, hi) in self.known.bounds.items():
            if np.array_equal(lo, hi) and place not in self.known.views:
                self.known.views[place] = constant.view(lo)
        for place in range(len(self.model.nodes)):
            if place not in self.done and not self.is_there(place):
                self._stage(place)
        results = [output.tensor for output in self.model.outputs]
        for part in output_parts(self, results, inputs.CONTEXT_CELLS + first):
            self.write(part, "outputs", ())
        outputs = sum(self.model.facts[place].size for place in results)
        main = self._main(inputs.CONTEXT_CELLS + first + outputs)
        return Program(
            words=tuple(self.code.assemble()),
            main=main,
            data=self.code.offset,
            sources=tuple(self.known.sources),
            check_sources=np.concatenate([np.zeros(0, dtype=np.int32), *self.check_sources]),
            check_elements=np.concatenate([np.zeros(0, dtype=np.int32), *self.check_elements]),
            inputs=first,
            outputs=outputs,
            layers=tuple(self.layers),
            notes=dict(self.code.lines),
        )

    # -- what is there without code

    def is_there(self, place: int) -> bool:
        """Whether a tensor's elements are somewhere already, gathering them from others where that costs nothing."""
        if place in self.known.views:
            return True
        operation = self.model.nodes[place].operation
        operands = self.model.nodes[place].inputs
        if not isinstance(operation, Wire) or not all(self.is_there(i) for i in operands):
            return False
        view = wire.pooled(operation, [self.known.views[i] for i in operands])
        if view is not None:
            self.known.views[place] = view
        return view is not None

    # -- stages

    def _stage(self, head: int) -> None:
        operation = self.model.nodes[head].operation
        if isinstance(operation, Wire):
            self._gather(head, operation)
            return
        members = self._members(head)
        self.done.update(members)
        linear = isinstance(operation, (MatMul, Conv2d))
        parts = linear_parts(self, head, members) if linear else element_parts(self, members)
        name = "_".join(dict.fromkeys(self.model.nodes[place].operation.name for place in members[:6]))
        for part in parts:
            self.write(part, name, tuple(members))

    def _members(self, head: int) -> list[int]:
        """Return the head and the nodes that can be computed with it, element by element."""
        model = self.model
        members = [head]
        inside = {head}
        size = model.facts[head].size
        for place in range(head + 1, len(model.nodes)):
            if len(members) == MAX_MEMBERS:
                break
            operands = model.nodes[place].inputs
            if place in self.done or place in self.known.views or not inside.intersection(operands):
                continue
            if not all(i in inside or self.is_there(i) for i in operands):
                continue
            same = all(model.facts[i].size == size for i in operands if i in inside)
            fits = is_renaming(model, place) or isinstance(model.nodes[place].operation, ELEMENTWISE)
            if same and fits and model.facts[place].size == size:
                members.append(place)
                inside.add(place)
        return members

    def _gather(self, place: int, operation: Wire) -> None:
        """Bring the operands of a wire together by copies, and gather from those."""
        copies = []
        for operand in self.model.nodes[place].inputs:
            view = self.known.views[operand]
            if view.space == "frame" and view.offset == 0:
                copies.append(view)
            else:
                copies.append(self.known.views[self.copied(operand)])
        pooled = wire.pooled(operation, copies)
        if pooled is None:
            raise AssertionError("copies of tensors do not go together")
        self.known.views[place] = pooled

    def copied(self, tensor: int, picture: np.ndarray | None = None) -> int:
        """Copy a tensor, as it is or as a picture of it, and return the copy's number.

        A picture holds for each place the tensor's element, or -1 for a 0; its rows are copied by one turn each.
        """
        lo, hi = self.known.bounds[tensor]
        if picture is None:
            picture = _rows(len(lo))
        number = self.scratch
        self.scratch -= 1
        present = picture >= 0
        self.known.bounds[number] = tuple(  # type: ignore[assignment]
            np.where(present, ends[np.maximum(picture, 0)], 0).reshape(-1) for ends in (lo, hi)
        )
        rows, width = picture.shape
        e = Emitter(self.known, rows, eager=True)
        cells = []
        for column in range(width):
            chosen = picture[:, column]
            if (chosen < 0).all():
                cells.append(e.body.push(0))
            else:
                value = e.operand(tensor, chosen)
                cells.append(e.body.push(value.offset) if value.ref is None else e.body.add(value.ref, value.offset))
        elements = np.arange(picture.size).reshape(rows, width)
        lanes = [{number: Value(cell)} for cell in cells]
        self.write(Part(e, elements, lanes), "copy", ())
        return number

    # -- writing

    def write(self, part: Part, name: str, members: Sequence[int]) -> None:
        """Write a part's code, call it, and note where its cells are."""
        body = part.emitter.body
        frame = self.top + 4 + 2
        start = self.code.offset
        self.code.note(name if not members else f"{name} of nodes {', '.join(map(str, members))}")
        copies = self._settled(part)
        label, placed = stage.write(self.code, body, frame, self.checks, name)
        self.calls.append(label)
        self.top = frame + placed.cells
        for lane, values in zip(part.elements.T, copies, strict=True):
            for tensor, value in values.items():
                self._place(tensor, lane, value, placed, body.turns)
        witnesses = body.witnesses
        if witnesses:
            sources = np.array([witness.source for witness in witnesses], dtype=np.int32)
            elements = np.stack([witness.elements for witness in witnesses], axis=1).astype(np.int32)
            self.check_sources.append(np.tile(sources, body.turns))
            self.check_elements.append(elements.reshape(-1))
            self.checks += elements.size
        self.layers.append(
            Layer(
                name, tuple(members), body.turns, placed.steps + 5, len(witnesses) * body.turns,
                placed.cells + 6, self.code.offset - start, placed.counts,
            )
        )  # fmt: skip

    def _settled(self, part: Part) -> list[dict[int, Value]]:
        """Copy results that are no cells of the frame, so that every result has an address there."""
        body = part.emitter.body
        settled = []
        for values in part.lanes:
            lane = {}
            for tensor, value in values.items():
                ref = value.ref
                if ref is None:
                    lane[tensor] = Value(body.push(value.offset))
                elif ref.kind == "constant" or (ref.kind == "column" and body.columns[ref.number].space != "frame"):
                    lane[tensor] = Value(body.copy(ref), value.offset)
                else:
                    lane[tensor] = value
            settled.append(lane)
        return settled

    def _place(self, tensor: int, lane: np.ndarray, value: Value, placed: stage.Placed, turns: int) -> None:
        if value.ref is None:
            raise AssertionError("a result has no cell")
        if value.ref.kind == "column":
            addresses = np.full(turns, placed.columns[value.ref.number], dtype=np.int64)
        else:
            addresses = placed.address(value.ref.number, turns)
        view = self.known.views.get(tensor)
        if view is None:
            view = View("frame", np.full(len(self.known.bounds[tensor][0]), -1, dtype=np.int64), value.offset)
            self.known.views[tensor] = view
        if view.offset != value.offset:
            raise AssertionError("the elements of a tensor stand beside different numbers")
        view.addresses[lane] = addresses

    def _main(self, output_cells: int) -> int:
        """Write `main` behind the stages; returns its offset."""
        code = self.code
        code.note("where am I: the caller's frame and the return address")
        code.label("whereabouts")
        code.put(machine.assert_equal(TOP, Operand(FP, -2), advance=True))
        code.put(machine.assert_equal(TOP, Operand(FP, -1), advance=True))
        code.put(machine.return_())
        code.note("main")
        code.label("main")
        main = code.offset
        code.go(machine.call_relative(), "whereabouts")
        code.origin = code.offset
        code.put(machine.assert_immediate(TOP, advance=True), 0)
        for label in self.calls:
            for cell in (_FRAME, _PROGRAM, *(-2 - len(machine.BUILTINS) + number for number in range(2))):
                code.put(machine.assert_equal(TOP, Operand(FP, cell), advance=True))
            code.go(machine.call_relative(), label)
        ends = zip((output_cells, self.checks), range(2), strict=True)
        for used, number in ends:
            pointer = Operand(FP, -2 - len(machine.BUILTINS) + number)
            code.put(machine.assert_add_immediate(TOP, pointer, advance=True), used)
        code.put(machine.return_())
        return main


def _rows(size: int) -> np.ndarray:
    """Return all elements in rows of a length that keeps code short."""
    width = next(n for n in range(min(size, 64), 0, -1) if size % n == 0)
    return np.arange(size).reshape(-1, width)
