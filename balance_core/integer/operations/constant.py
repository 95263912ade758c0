"""A tensor that belongs to the model: a weight, or a number that the structure itself needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from balance_core.errors import ConfigError
from balance_core.integer.facts import MAX_LISTED, Inadmissible, check_interval, check_shape
from balance_core.integer.operations.base import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.codec import Reader, Writer
    from balance_core.integer.facts import Fact, Interval, Shape


@dataclass(frozen=True, eq=False)
class Constant(Operation):
    """A tensor that is the same for every input.

    A weight (`values` None) is declared by shape and range alone; its integers are kept apart, so that the
    structure can be public and the weights private. Any other constant is part of the structure.
    """

    code: ClassVar[int] = 1
    name: ClassVar[str] = "constant"
    arity: ClassVar[int | None] = 0
    meaning: ClassVar[str] = "a weight: integers kept apart, each in the declared [lo, hi]; else the listed integers"
    shape_rule: ClassVar[str] = "the attribute"
    interval_rule: ClassVar[str] = "[lo, hi], the attributes; for listed integers they are the least and the largest"
    attributes: ClassVar[str] = "shape; lo; hi; listed integers in row-major order, none for a weight"

    to: Shape
    lo: int
    hi: int
    values: np.ndarray | None

    @property
    def is_weight(self) -> bool:
        """Whether the integers are kept apart from the structure."""
        return self.values is None

    @classmethod
    def listed(cls, values: np.ndarray) -> Self:
        """Make a constant whose integers are part of the structure."""
        shape = tuple(int(n) for n in values.shape)
        return cls(shape, int(values.min()), int(values.max()), np.ascontiguousarray(values, dtype=np.int64))

    def shape(self, operands: Sequence[Fact]) -> Shape:
        """Return the attribute."""
        del operands
        check_shape(self.to)
        if self.values is not None:
            if self.values.size > MAX_LISTED:
                raise Inadmissible(f"{self.values.size} listed integers exceed the {MAX_LISTED} allowed")
            if self.values.shape != self.to:
                raise Inadmissible(f"{self.values.size} integers do not fill the shape {self.to}")
            if (self.lo, self.hi) != (int(self.values.min()), int(self.values.max())):
                raise Inadmissible("the interval of a listed constant is not that of its integers")
        return self.to

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Return the attributes."""
        del operands
        return check_interval(self.lo, self.hi)

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Return the listed integers; weights are given, never computed."""
        del arrays, operands
        if self.values is None:
            raise ConfigError("only the structure of this model is known: it cannot be executed without its weights")
        return self.values[None]

    def write(self, out: Writer) -> None:
        """Append shape, interval and the listed integers."""
        out.uints(self.to)
        out.sint(self.lo)
        out.sint(self.hi)
        out.array(np.zeros(0) if self.values is None else self.values)

    @classmethod
    def read(cls, source: Reader) -> Self:
        """Take a constant from untrusted bytes."""
        shape, lo, hi = source.uints(8), source.sint(), source.sint()
        values = source.array(MAX_LISTED)
        if not values.size:
            return cls(shape, lo, hi, None)
        try:
            array = values.reshape(check_shape(shape))
        except ValueError as error:
            raise source.fail(f"a constant is not well formed ({error})") from None
        return cls(shape, lo, hi, array)

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two constants the same; the integers of a weight are compared by the builder."""
        return self.to, self.lo, self.hi, None if self.values is None else self.values.tobytes()
