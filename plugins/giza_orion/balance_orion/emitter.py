"""What kernels work with: values, the operands' cells, and range-checked cells with the witness that fills them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from balance_orion.body import Body, Column, Ref

if TYPE_CHECKING:
    import numpy as np

    from balance_core.integer.model import IntegerModel
    from balance_orion.code import Code


class Value(NamedTuple):
    """An integer of the model in code: the cell's content plus a number; without a cell, the number alone."""

    ref: Ref | None
    offset: int = 0
    uniform: bool = True
    """Whether a number without a cell is that of every element of its tensor."""


class Source(NamedTuple):
    """What range-checked cells hold: an array that the witness computes for all elements of a node at once."""

    node: int
    name: str
    parameters: tuple[int, ...]


@dataclass(frozen=True)
class View:
    """Where the elements of a tensor are: element i is the cell at addresses[i] plus offset, or a constant."""

    space: str
    """`frame`, `output`, or `constant`, where `addresses` are the values themselves."""
    addresses: np.ndarray
    offset: int = 0


@dataclass
class Knowledge:
    """What code generation knows about the model as a whole."""

    model: IntegerModel
    code: Code
    bounds: dict[int, tuple[np.ndarray, np.ndarray]]
    """Least and largest value of each element, flattened."""
    views: dict[int, View] = field(default_factory=dict)
    sources: dict[Source, int] = field(default_factory=dict)
    zero: int = 0
    """Address of a cell that holds 0."""

    def ends(self, tensor: int) -> tuple[int, int]:
        """Return least and largest value of a tensor."""
        lo, hi = self.bounds[tensor]
        return int(lo.min()), int(hi.max())


class Emitter:
    """One body being written: kernels ask it for operands and range-checked cells."""

    def __init__(self, known: Knowledge, turns: int, *, eager: bool = False) -> None:
        self.known = known
        self.body = Body(turns, eager=eager)

    def operand(self, tensor: int, elements: np.ndarray) -> Value:
        """Return one external element for each turn."""
        view = self.known.views[tensor]
        chosen = view.addresses[elements]
        if view.space == "constant":
            if (chosen == chosen[0]).all():
                uniform = bool((view.addresses == view.addresses[0]).all())
                return Value(None, int(chosen[0]), uniform)
            place = self.known.code.store(view.addresses.tolist())
            return Value(self.body.load(Column("data", place + elements, int(chosen.min()), int(chosen.max()))))
        lo, hi = self.known.bounds[tensor]
        ends = int(lo[elements].min()) - view.offset, int(hi[elements].max()) - view.offset
        return Value(self.body.load(Column(view.space, chosen, *ends)), view.offset)

    def checked(self, node: int, name: str, elements: np.ndarray, hi: int, parameters: tuple[int, ...] = ()) -> Ref:
        """Push a range-checked cell that holds the source's element of each turn; an honest one is in [0, hi]."""
        source = Source(node, name, parameters)
        number = self.known.sources.setdefault(source, len(self.known.sources))
        return self.body.checked(number, elements, 0, hi)

    def bounded(
        self, node: int, name: str, elements: np.ndarray, hi: int, parameters: tuple[int, ...] = ()
    ) -> tuple[Ref, Ref]:
        """Push a cell in [0, hi] and its complement hi - cell.

        Both are range-checked and their sum is asserted to be hi: a cell in [0, 2^128) whose distance from hi is also
        in [0, 2^128) cannot be larger than hi, for hi + 2^128 is below the field's order.
        """
        cell = self.checked(node, name, elements, hi, parameters)
        rest = self.checked(node, f"{name}:complement", elements, hi, (*parameters, hi))
        self.body.assert_add(self.body.constant(hi), cell, rest)
        return cell, rest

    def plain(self, value: Value) -> Ref:
        """Return a cell that holds the value itself."""
        if value.ref is None:
            return self.body.constant(value.offset)
        return self.body.add(value.ref, value.offset)
