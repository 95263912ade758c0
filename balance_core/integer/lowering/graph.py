"""The integer graph while it grows: nodes are checked, shared and run on the calibration samples when added.

A lowering that is replayed from a recipe has no samples: constants alone have values then.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from balance_core.errors import ConfigError
from balance_core.integer.executor import quantise
from balance_core.integer.facts import Fact, Inadmissible
from balance_core.integer.model import IntegerModel, Node, Output, checked_fact
from balance_core.integer.operations import Constant, Input, Operation, Wire
from balance_core.integer.recipe import AGAIN, Choices, only

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from balance_core.integer.recipe import Kind

MAX_CALIBRATION = 2**28
"""Largest number of elements that calibration keeps, over all tensors and samples."""
MAX_WEIGHT_BITS = 62
_NONE = np.zeros((0,), dtype=np.int64)
"""Stands for the samples of a tensor when there are none."""


class TooManySamples(Inadmissible):
    """The calibration samples do not fit into memory; fewer may."""


@dataclass(frozen=True)
class Real:
    """A tensor of the graph read as real numbers: integer * scale.

    `exact` marks ONNX integers and booleans, which must never lose a bit.
    """

    tensor: int
    scale: Fraction
    fact: Fact
    exact: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, as in ONNX."""
        return self.fact.shape


class Graph:
    """Adds nodes, one tensor each, and knows their values on the calibration samples."""

    def __init__(self, choices: Choices | None = None) -> None:
        self.choices = choices or Choices()
        self.nodes: list[Node] = []
        self.facts: list[Fact] = []
        self.values: list[np.ndarray] = []
        self.weights: dict[int, np.ndarray] = {}
        self.label = ""
        """The ONNX node that is being lowered, given to every node added."""
        self.kept = 0
        self._known: dict[Any, int] = {}

    def input(self, op: Input, samples: np.ndarray | None, scale: Fraction, *, exact: bool) -> Real:
        """Add an input; samples have a batch axis and are reals, or ONNX integers."""
        values = _NONE if samples is None else quantise(samples, Node(op, scale=scale), op)
        return self._append(op, (), scale, values, exact=exact)

    def constant(self, integers: np.ndarray, scale: Fraction = Fraction(1)) -> Real:
        """Add a constant that is part of the structure."""
        op = Constant.listed(np.asarray(integers, dtype=np.int64))
        return self._shared(op, (), scale, lambda: op.run((), ()))

    def weight(self, integers: np.ndarray, scale: Fraction) -> Real:
        """Add a weight; its declared range is the least power of two around 0 that holds it, or the recipe's."""
        array = np.ascontiguousarray(integers, dtype=np.int64)
        largest = int(np.abs(array).max())
        bits = self.take("bound", lambda: (max(1, largest.bit_length()),))
        bound = (1 << only(bits, 1, MAX_WEIGHT_BITS, self.label)) - 1
        if largest > bound:
            reach = (
                f"reach {float(largest * scale):.6g}, beyond the {float(bound * scale):.6g} that the recipe declares"
            )
            raise ConfigError(f"weights of {self.label} {reach}", hint=AGAIN)
        op = Constant(tuple(int(n) for n in array.shape), -bound, bound, None)
        return self.declared(op, array, scale)

    def declared(self, op: Constant, array: np.ndarray, scale: Fraction = Fraction(1)) -> Real:
        """Add a weight whose declared range is given, or share the tensor of an equal one.

        In a replay the recipe says which are shared, so that weights that happen to be equal change no structure.
        """
        key = ("weight", op.key, array.tobytes(), scale)
        place = self._known.get(key)
        if self.choices.offers("same", len(self.nodes)) if self.choices.replaying else place is not None:
            place = self._shared_weight(op, array, scale, place)
        else:
            place = self._append(op, (), scale, array[None]).tensor
            self.weights[place] = array
            self._known[key] = place
        return self.real(place)

    def _shared_weight(self, op: Constant, array: np.ndarray, scale: Fraction, place: int | None) -> int:
        """Return the weight's tensor; raises ConfigError for two that the recipe takes for one and that differ."""
        chosen = only(self.take("same", lambda: (-1 if place is None else place,)), 0, len(self.nodes), self.label)
        same = chosen in self.weights and np.array_equal(self.weights[chosen], array)
        if not same or self.nodes[chosen].scale != scale or self.nodes[chosen].operation.key != op.key:
            raise ConfigError(f"the recipe says that weights of {self.label} are equal, and they are not", hint=AGAIN)
        return chosen

    def take(self, kind: Kind, choose: Callable[[], tuple[int, ...]]) -> tuple[int, ...]:
        """Take a choice for what is being lowered, by samples or from the recipe."""
        return self.choices.take(kind, len(self.nodes), self.label, choose)

    def emit(self, op: Operation, *operands: Real, scale: Fraction, exact: bool = False) -> Real:
        """Add an operation, or return the tensor that already holds its result."""
        inputs = tuple(x.tensor for x in operands)
        if isinstance(op, Wire) and len(operands) == 1:
            source = self.nodes[inputs[0]].operation
            if isinstance(source, Constant):  # a re-indexed constant is a constant
                array = op.run([self.values[inputs[0]]], ())[0]
                if source.values is not None:
                    return self.constant(array, scale)
                return self.declared(Constant(op.to, source.lo, source.hi, None), np.ascontiguousarray(array), scale)
            if isinstance(source, Wire):  # one re-indexing instead of two
                op = Wire.from_index(source.index().reshape(-1)[op.index()])
                inputs = self.nodes[inputs[0]].inputs
            if op.is_reshape and len(inputs) == 1 and op.to == self.facts[inputs[0]].shape:
                return Real(inputs[0], scale, self.facts[inputs[0]], exact)
        facts = [self.facts[i] for i in inputs]
        return self._shared(op, inputs, scale, lambda: op.run([self.values[i] for i in inputs], facts), exact=exact)

    def real(self, tensor: int, *, exact: bool = False) -> Real:
        """Return a tensor as a real."""
        return Real(tensor, self.nodes[tensor].scale, self.facts[tensor], exact)

    def samples(self, x: Real) -> np.ndarray:
        """Return the integers on the calibration samples, with a batch axis; a replay has none."""
        values = self.values[x.tensor]
        if values is _NONE:
            raise AssertionError("a choice was made without its recipe")
        return values

    def _shared(
        self, op: Operation, inputs: tuple[int, ...], scale: Fraction, run: Any, *, exact: bool = False
    ) -> Real:
        key = (op.code, op.key, inputs)
        if key in self._known:
            tensor = self._known[key]
            return Real(tensor, scale, self.facts[tensor], exact)
        fact = checked_fact(op, tuple(self.facts[i] for i in inputs))
        if self.choices.replaying:
            value = run() if isinstance(op, Constant) else _NONE
        else:
            batch = max((len(self.values[i]) for i in inputs), default=1)
            if self.kept + fact.size * batch > MAX_CALIBRATION:
                raise TooManySamples(f"calibration on {batch} samples would need more than 2 GiB")
            value = run()
        result = self._append(op, inputs, scale, value, exact=exact)
        self._known[key] = result.tensor
        return result

    def _append(
        self, op: Operation, inputs: tuple[int, ...], scale: Fraction, value: np.ndarray, *, exact: bool = False
    ) -> Real:
        fact = checked_fact(op, tuple(self.facts[i] for i in inputs))
        self.kept += value.size
        self.nodes.append(Node(op, inputs, scale, 0, self.label))
        self.facts.append(fact)
        self.values.append(value)
        return Real(len(self.nodes) - 1, scale, fact, exact)

    def finish(self, outputs: Sequence[tuple[str, Real]]) -> tuple[IntegerModel, dict[int, int]]:
        """Return the model of all inputs and of what the outputs need, and where each kept tensor went."""
        needed = {x.tensor for _, x in outputs}
        for place in range(len(self.nodes) - 1, -1, -1):
            if place in needed:
                needed.update(self.nodes[place].inputs)
            elif isinstance(self.nodes[place].operation, Input):
                needed.add(place)
        scales = {x.tensor: x.scale for _, x in outputs}
        moved = {old: new for new, old in enumerate(sorted(needed))}
        nodes = [
            Node(
                self.nodes[old].operation,
                tuple(moved[i] for i in self.nodes[old].inputs),
                scales.get(old, self.nodes[old].scale),
                label=self.nodes[old].label,
            )
            for old in moved
        ]
        results: list[Output] = []
        taken: dict[int, Fraction] = {}
        for name, x in outputs:
            place = moved[x.tensor]
            if (
                taken.setdefault(place, x.scale) != x.scale
            ):  # one tensor under two scales: an output needs its own node
                nodes.append(Node(Wire(x.shape, (x.fact.size,), (1,), 0, None), (place,), x.scale, label=name))
                place = len(nodes) - 1
            results.append(Output(name, place))
        weights = {moved[old]: array for old, array in self.weights.items() if old in moved}
        return IntegerModel(tuple(nodes), tuple(results), weights), moved
