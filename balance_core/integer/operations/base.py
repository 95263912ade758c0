"""What an operation of the integer model is: one class that holds its meaning, rules, kernel and encoding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from balance_core.integer.facts import MAX_RANK, SAFE, Fact, Inadmissible, Interval, Shape, broadcast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from balance_core.integer.codec import Reader, Writer

    Kernel = Callable[[Sequence[np.ndarray]], np.ndarray]

MAX_LIST = 64
"""Longest list of axes, strides and the like."""


@dataclass(frozen=True, eq=False)
class Operation(ABC):
    """One operation with its attributes; operands are tensors, the result is one tensor of int64.

    A kernel sees each tensor with a leading batch axis (of size 1 for what does not depend on the input), and its
    operands hold values inside their facts' intervals. `peak` bounds every intermediate of the kernel, so that a
    kernel whose peak is at most SAFE cannot wrap.

    The encoding of an operation is its code, then its attributes in the order of the class's fields: `int` as a
    signed integer, a shape as a list of unsigned integers, `tuple[int, ...]` as a list of signed ones, `str` as text.
    A class with other attributes writes its own.
    """

    code: ClassVar[int]
    name: ClassVar[str]
    arity: ClassVar[int | None]
    """Number of operands; None for one or more."""
    meaning: ClassVar[str]
    """The exact integer meaning."""
    shape_rule: ClassVar[str]
    interval_rule: ClassVar[str]
    attributes: ClassVar[str] = "none"
    """What the attributes are, in the order of their encoding."""

    @abstractmethod
    def shape(self, operands: Sequence[Fact]) -> Shape:
        """Return the shape of the result; raises Inadmissible when the operands do not fit."""

    @abstractmethod
    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Return an interval that holds for all values of the operands; the same object twice is the same tensor."""

    def peak(self, magnitudes: Sequence[int], operands: Sequence[Fact]) -> int:
        """Bound every intermediate of the kernel, given the largest absolute value of each operand."""
        del operands
        return max(magnitudes, default=0)

    @abstractmethod
    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Compute the result for a batch."""

    def kernel(self, operands: Sequence[Fact]) -> Kernel:
        """Return `run` for operands of these facts, so that what depends on them alone is decided once."""
        return partial(self.run, operands=operands)

    def macs(self, operands: Sequence[Fact]) -> int:
        """Return the number of multiply-adds, for a linear layer."""
        del operands
        return 0

    def fact(self, operands: Sequence[Fact]) -> Fact:
        """Apply the rules; raises Inadmissible when the operation may not be applied to such operands."""
        if self.arity is not None and len(operands) != self.arity:
            raise Inadmissible(f"{self.name} takes {self.arity} operands and has {len(operands)}")
        if self.arity is None and not operands:
            raise Inadmissible(f"{self.name} takes at least one operand")
        shape = self.shape(operands)
        if (peak := self.peak([x.magnitude for x in operands], operands)) > SAFE:
            raise Inadmissible(f"intermediates may reach {peak}, beyond the safe width of 62 bits")
        return Fact(shape, *self.interval(operands))

    def write(self, out: Writer) -> None:
        """Append the attributes."""
        for field in fields(self):
            value: Any = getattr(self, field.name)
            match field.type:
                case "int":
                    out.sint(value)
                case "str":
                    out.text(value)
                case "tuple[int, ...]":
                    out.sints(value)
                case "Shape":
                    out.uints(value)
                case _:
                    raise TypeError(f"{self.name}.{field.name}: no encoding for {field.type}")

    @classmethod
    def read(cls, source: Reader) -> Self:
        """Take the attributes from untrusted bytes."""
        values: list[Any] = []
        for field in fields(cls):
            match field.type:
                case "int":
                    values.append(source.sint())
                case "str":
                    values.append(source.text(256))
                case "tuple[int, ...]":
                    values.append(source.sints(MAX_LIST))
                case "Shape":
                    values.append(source.uints(MAX_RANK))
                case _:
                    raise TypeError(f"{cls.name}.{field.name}: no encoding for {field.type}")
        return cls(*values)

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two operations of one kind the same."""
        return tuple(getattr(self, field.name) for field in fields(self))


class Elementwise(Operation):
    """An operation on two tensors of equal rank whose axes agree or are 1."""

    arity: ClassVar[int | None] = 2
    shape_rule: ClassVar[str] = "equal rank; each axis equal, or 1 in one operand: the larger"

    def shape(self, operands: Sequence[Fact]) -> Shape:
        """Return the broadcast shape."""
        return broadcast(*(x.shape for x in operands))


class Reduction(Operation):
    """An operation over some axes of one tensor, which stay as axes of size 1."""

    arity: ClassVar[int | None] = 1
    shape_rule: ClassVar[str] = "the operand's, with 1 for each reduced axis"

    axes: tuple[int, ...]

    def shape(self, operands: Sequence[Fact]) -> Shape:
        """Return the operand's shape with the reduced axes set to 1."""
        rank = len(operands[0].shape)
        if not self.axes or list(self.axes) != sorted(set(self.axes)) or self.axes[0] < 0 or self.axes[-1] >= rank:
            raise Inadmissible(f"axes {self.axes} are not rising axes of a tensor of rank {rank}")
        return tuple(1 if axis in self.axes else n for axis, n in enumerate(operands[0].shape))

    def count(self, operand: Fact) -> int:
        """Return how many elements one result is made of."""
        result = 1
        for axis in self.axes:
            result *= operand.shape[axis]
        return result

    @property
    def batch_axes(self) -> tuple[int, ...]:
        """The axes in an array with a leading batch axis."""
        return tuple(axis + 1 for axis in self.axes)
