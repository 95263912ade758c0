"""What the conversion of one quantised operator has to work with, and where conversions are registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from balance_core.converters.tflite.multiplier import (
    multiply,
    multiply_rounding_once,
    quantise_multiplier,
    round_half_away,
)
from balance_core.integer.facts import Inadmissible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from balance_core.converters.exact import ExactGraph
    from balance_core.converters.exact import Tensor as Integers
    from balance_core.converters.tflite.reader import Graph, Operator, Tensor

    Conversion = Callable[["Rule"], list[Integers]]

RULES: dict[str, Conversion] = {}
ENDS = {"int8": (-128, 127), "uint8": (0, 255)}
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
"""The schema's codes of fused activations."""


@dataclass(frozen=True)
class Rule:
    """One operator, the graph that it is added to, and what is known of its operands."""

    graph: ExactGraph
    file: Graph
    operator: Operator
    constants: Mapping[int, np.ndarray]
    values: Mapping[int, Integers]

    def tensor(self, place: int) -> Tensor:
        """Return what the file says of an operand."""
        if place >= len(self.operator.inputs) or self.operator.inputs[place] < 0:
            raise Inadmissible(f"operand {place} is left out")
        return self.file.tensors[self.operator.inputs[place]]

    def quantised(self, place: int) -> Tensor:
        """Return what the file says of an operand of quantised bytes, all of one scale."""
        tensor = self.tensor(place)
        if tensor.dtype not in ENDS or tensor.scales.size != 1:
            raise Inadmissible(f"operand {place} is no tensor of quantised bytes")
        return tensor

    @property
    def target(self) -> Tensor:
        """What the file says of the first result, which must be quantised bytes."""
        tensor = self.file.tensors[self.operator.outputs[0]]
        if tensor.dtype not in ENDS or tensor.scales.size != 1:
            raise Inadmissible("its result is no tensor of quantised bytes")
        return tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The declared shape of the first result."""
        return self.file.tensors[self.operator.outputs[0]].shape

    def is_constant(self, place: int) -> bool:
        """Whether an operand is constant."""
        return self.operator.inputs[place] in self.constants

    def constant(self, place: int) -> np.ndarray:
        """Return a constant operand."""
        if place >= len(self.operator.inputs) or self.operator.inputs[place] not in self.constants:
            raise Inadmissible(f"operand {place} is not constant")
        return self.constants[self.operator.inputs[place]]

    def operand(self, place: int) -> Integers:
        """Return an operand as integers of the graph, a constant as a weight of its type's range."""
        tensor = self.tensor(place)
        if tensor.place in self.values:
            return self.values[tensor.place]
        array = self.constant(place)
        if array.dtype.kind == "f":
            raise Inadmissible(f"operand {place} is floating-point in a model of quantised integers")
        return self.graph.weight(array.astype(np.int64), *ENDS.get(tensor.dtype, (None, None)))

    def centred(self, place: int) -> Integers:
        """Return an operand of quantised bytes less its zero point."""
        return self.graph.shift(self.operand(place), -self.quantised(place).zero_point)

    def axes(self, place: int, rank: int) -> list[int]:
        """Return constant axes, counted from the front."""
        numbers = [int(n) for n in self.constant(place).reshape(-1)]
        if any(not -rank <= n < rank for n in numbers):
            raise Inadmissible(f"axes {numbers} are none of {rank}")
        return sorted({n % rank for n in numbers})

    def ends(self) -> tuple[int, int]:
        """Return the ends of the result's type, narrowed by the fused activation."""
        tensor = self.target
        low, high = ENDS[tensor.dtype]
        code = self.operator.options.get("FusedActivationFunction", NONE)
        bounds = {NONE: (None, None), RELU: (0.0, None), RELU_N1_TO_1: (-1.0, 1.0), RELU6: (0.0, 6.0)}
        if code not in bounds:
            raise Inadmissible(f"the fused activation {code} is not taken")
        least, most = (
            None if bound is None else tensor.zero_point + round_half_away(bound / tensor.scale)
            for bound in bounds[code]
        )
        return max(low, low if least is None else least), min(high, high if most is None else most)

    def finish(self, centred: Integers) -> Integers:
        """Add the result's zero point and saturate to its type and activation."""
        low, high = self.ends()
        if low > high:
            raise Inadmissible("its activation leaves no value")
        return self.graph.clamp(self.graph.shift(centred, self.target.zero_point), low, high)

    def requantise(
        self, accumulator: Integers, factors: Sequence[float], axis: int = 0, *, once: bool = False
    ) -> Integers:
        """Bring an accumulator to the result's scale, rounding twice, or `once`, as the operator's kernel does."""
        pairs = list(map(quantise_multiplier, factors))
        if once:
            return self.finish(multiply_rounding_once(self.graph, accumulator, pairs, axis))
        negatives = self.ends()[0] < self.target.zero_point
        return self.finish(multiply(self.graph, accumulator, pairs, axis, negatives=negatives))


def rule(*kinds: str) -> Callable[[Conversion], Conversion]:
    """Register the conversion of some operators."""

    def register(conversion: Conversion) -> Conversion:
        RULES.update(dict.fromkeys(kinds, conversion))
        return conversion

    return register


def same_scale(r: Rule) -> None:
    """Raise Inadmissible unless the result has its operand's scale."""
    source, target = r.quantised(0), r.target
    if (source.scale, source.zero_point, source.dtype) != (target.scale, target.zero_point, target.dtype):
        raise Inadmissible("its result has another scale than its operand")
