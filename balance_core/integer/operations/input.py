"""A tensor that the caller gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from balance_core.errors import ConfigError
from balance_core.integer.facts import check_interval, check_shape
from balance_core.integer.operations.base import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from balance_core.integer.facts import Fact, Interval, Shape


@dataclass(frozen=True, eq=False)
class Input(Operation):
    """The integers that the caller gives under a name, each in [lo, hi]."""

    code: ClassVar[int] = 0
    name: ClassVar[str] = "input"
    arity: ClassVar[int | None] = 0
    meaning: ClassVar[str] = "the given integers, each in [lo, hi]"
    shape_rule: ClassVar[str] = "the attribute"
    interval_rule: ClassVar[str] = "[lo, hi], the attributes"
    attributes: ClassVar[str] = "label: the input's name; shape; lo; hi"

    label: str
    to: Shape
    lo: int
    hi: int

    def shape(self, operands: Sequence[Fact]) -> Shape:
        """Return the attribute."""
        del operands
        return check_shape(self.to)

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Return the attributes."""
        del operands
        return check_interval(self.lo, self.hi)

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Inputs are given, never computed."""
        del arrays, operands
        raise ConfigError("an input is given, and not computed")
