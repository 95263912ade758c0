"""One ONNX node as a lowering rule sees it: operands, attributes with their defaults, and the arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from balance_core.integer.facts import Inadmissible
from balance_core.integer.lowering.graph import Real

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from balance_core.integer.lowering.real import Reals


@dataclass(frozen=True)
class Curve:
    """A function of one tensor, element by element, that becomes one table when it is needed."""

    source: Real
    function: Callable[[Decimal], Decimal]

    @property
    def shape(self) -> tuple[int, ...]:
        """The source's shape."""
        return self.source.shape

    def then(self, outer: Callable[[Decimal], Decimal]) -> Curve:
        """Apply a function to the result."""
        inner = self.function
        return Curve(self.source, lambda x: outer(inner(x)))


Value = Real | Curve | np.ndarray
"""What an ONNX tensor is during lowering: integers with a scale, a pending table, or a constant."""


class Node:
    """An ONNX node with its operands; every attribute that is set must be asked for by the rule, or is refused."""

    def __init__(
        self,
        proto: onnx.NodeProto,
        operands: Sequence[Value | None],
        *,
        opset: int,
        reals: Reals,
        types: dict[str, int],
        materialise: Callable[[Value], Real],
        feeds_softmax: bool = False,
    ) -> None:
        self.proto = proto
        self.operands = tuple(operands)
        self.opset = opset
        self.reals = reals
        self.feeds_softmax = feeds_softmax
        """Whether nothing but softmaxes reads the result, so that a huge negative number means: not this one."""
        self._types = types
        self._materialise = materialise
        self._set = {attribute.name: attribute for attribute in proto.attribute}
        self._asked: set[str] = set()

    @property
    def op(self) -> str:
        """The operator's name."""
        return self.proto.op_type

    @property
    def title(self) -> str:
        """How messages call the node."""
        return self.proto.name or (self.proto.output[0] if self.proto.output else self.op)

    # Operands

    def has(self, place: int) -> bool:
        """Whether an optional operand is given."""
        return place < len(self.operands) and self.operands[place] is not None

    def value(self, place: int) -> Value:
        """Return an operand as it is."""
        value = self.operands[place] if place < len(self.operands) else None
        if value is None:
            raise Inadmissible(f"operand {place} is missing")
        return value

    def real(self, place: int) -> Real:
        """Return an operand as a tensor of integers; a constant becomes a weight."""
        return self._materialise(self.value(place))

    def tensor(self, value: Value) -> Real:
        """Return any value as a tensor of integers."""
        return self._materialise(value)

    def pending(self, value: Value) -> Curve:
        """Return a value as a function that waits for its table: of itself, if it is none yet."""
        return value if isinstance(value, Curve) else Curve(self._materialise(value), lambda x: x)

    def all_reals(self) -> list[Real]:
        """Return every operand as a tensor of integers."""
        return [self.real(place) for place in range(len(self.operands))]

    def is_constant(self, place: int) -> bool:
        """Whether an operand is a constant."""
        return isinstance(self.value(place), np.ndarray)

    def constant(self, place: int) -> np.ndarray:
        """Return a constant operand; raises Inadmissible when it is computed from the input."""
        value = self.value(place)
        if not isinstance(value, np.ndarray):
            raise Inadmissible(f"operand {place} ({self.proto.input[place]}) must be a constant")
        return value

    def shape(self, place: int) -> tuple[int, ...]:
        """Return the shape of an operand."""
        return tuple(int(n) for n in self.value(place).shape)

    def is_integer(self, place: int) -> bool:
        """Whether an operand is of an ONNX integer or boolean type."""
        return self._types.get(self.proto.input[place], onnx.TensorProto.FLOAT) in INTEGERS

    def type_of_operand(self, place: int) -> int:
        """Return the ONNX element type of an operand."""
        return self._types.get(self.proto.input[place], onnx.TensorProto.FLOAT)

    def type_of_output(self, place: int = 0) -> int:
        """Return the ONNX element type of a result."""
        return self._types.get(self.proto.output[place], onnx.TensorProto.FLOAT)

    # Attributes

    def attribute(self, name: str) -> Any:
        """Return an attribute, or the operator's own default, or None."""
        self._asked.add(name)
        if name in self._set:
            return onnx.helper.get_attribute_value(self._set[name])
        try:
            schema = onnx.defs.get_schema(self.op, self.opset, self.proto.domain)
        except onnx.defs.SchemaError:
            return None
        declared = schema.attributes.get(name)
        if declared is None or not declared.default_value.name:
            return None
        return onnx.helper.get_attribute_value(declared.default_value)

    def integer(self, name: str, default: int | None = None) -> int:
        """Return an integer attribute."""
        value = self.attribute(name)
        if value is None and default is None:
            raise Inadmissible(f"attribute {name} is missing")
        return int(default if value is None else value)  # type: ignore[arg-type]  # one of both is given

    def integers(self, name: str) -> tuple[int, ...] | None:
        """Return a list of integers, or None."""
        value = self.attribute(name)
        return None if value is None else tuple(int(v) for v in value)

    def number(self, name: str, default: float | None = None) -> float:
        """Return a float attribute."""
        value = self.attribute(name)
        if value is None and default is None:
            raise Inadmissible(f"attribute {name} is missing")
        return float(default if value is None else value)  # type: ignore[arg-type]  # one of both is given

    def numbers(self, name: str) -> np.ndarray | None:
        """Return a list of floats as an array, or None."""
        value = self.attribute(name)
        return None if value is None else np.array(value, dtype=np.float64)

    def text(self, name: str, default: str = "") -> str:
        """Return a text attribute."""
        value = self.attribute(name)
        return default if value is None else value.decode()

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Return a list of texts, or None."""
        value = self.attribute(name)
        return None if value is None else tuple(v.decode() for v in value)

    def ignore(self, *names: str) -> None:
        """Mark attributes as asked for: they do not change the result."""
        self._asked.update(names)

    def unread(self) -> list[str]:
        """Return the attributes that are set and that the rule did not ask for."""
        return sorted(set(self._set) - self._asked)

    def axis(self, name: str = "axis", rank: int | None = None) -> int:
        """Return an axis attribute as a position from the front."""
        return front(self.integer(name), len(self.shape(0)) if rank is None else rank)


FLOATS = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16})
"""ONNX element types whose values are real numbers of at least 11 bits."""
INTEGERS = frozenset(
    getattr(onnx.TensorProto, f"{sign}INT{bits}")
    for sign in ("", "U")
    for bits in (2, 4, 8, 16, 32, 64)
    if hasattr(onnx.TensorProto, f"{sign}INT{bits}")
) | {onnx.TensorProto.BOOL}
"""ONNX element types whose values are integers."""


def front(axis: int, rank: int) -> int:
    """Return an axis counted from the front; raises Inadmissible when there is none."""
    if not -rank <= axis < max(rank, 1):
        raise Inadmissible(f"axis {axis} does not exist in rank {rank}")
    return axis % rank if rank else 0
