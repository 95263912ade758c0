"""Random integer models, for promises that hold for all of them: a prover of the integer model is tried on these."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer import IntegerModel, Node, Output
from balance_core.integer import operations as ops
from balance_core.integer.facts import Inadmissible, check_interval
from balance_core.integer.model import checked_fact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.facts import Fact

KINDS = ("wire", "add", "sub", "mul", "square", "sum", "matmul", "conv2d", "rescale", "divide", "clamp", "lookup",
         "less", "max", "argmax", "weight")  # fmt: skip


class Growing:
    """A model that grows by random admissible nodes."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.random = generator
        self.nodes: list[Node] = []
        self.facts: list[Fact] = []
        self.weights: dict[int, np.ndarray] = {}
        shape = tuple(int(n) for n in self.random.integers(1, 4, size=int(self.random.integers(2, 4))))
        bound = int(self.random.choice([1, 7, 255, 2**20]))
        low = -bound if self.random.integers(2) else 0
        self.add(ops.Input("x", shape, low, bound))
        if self.random.integers(2):
            self.add(ops.Input("y", (1,) * len(shape), -3, 3))

    def add(self, operation: ops.Operation, *inputs: int) -> int | None:
        """Add a node if it is admissible."""
        try:
            fact = checked_fact(operation, tuple(self.facts[i] for i in inputs))
            check_interval(fact.lo, fact.hi)
        except Inadmissible:
            return None
        if fact.size > 400:
            return None
        scale = Fraction(int(self.random.integers(1, 9)), int(self.random.integers(1, 9)))
        self.nodes.append(
            Node(operation, tuple(inputs), scale, int(self.random.integers(-2, 3)), f"n{len(self.nodes)}")
        )
        self.facts.append(fact)
        return len(self.nodes) - 1

    def constant(self, shape: Sequence[int], low: int = -9, high: int = 9) -> int:
        """Add a constant, weight or listed."""
        values = self.random.integers(low, high + 1, size=shape).astype(np.int64)
        listed = bool(self.random.integers(2))
        place = self.add(ops.Constant.listed(values) if listed else ops.Constant(tuple(shape), low, high, None))
        if place is None:
            raise AssertionError("a small constant is always admissible")
        if not listed:
            self.weights[place] = values
        return place

    def grow(self) -> None:  # noqa: C901, PLR0912 - one case for each operation
        """Add one node of a random kind, if it fits."""
        kind = str(self.random.choice(KINDS))
        x = int(self.random.integers(len(self.nodes)))
        fact = self.facts[x]
        rank = len(fact.shape)
        axes = tuple(sorted({int(a) for a in self.random.integers(0, max(rank, 1), size=2)})) if rank else ()
        match kind:
            case "wire":
                inputs = [
                    x,
                    *map(int, self.random.integers(0, len(self.nodes), size=int(self.random.integers(0, 3)))),
                ]
                self._wire(inputs)
            case "add" | "sub" | "mul" | "less":
                y = self._partner(x)
                elementwise = {"add": ops.Add(), "sub": ops.Sub(), "mul": ops.Mul(), "less": ops.Less()}
                self.add(elementwise[kind], x, y)
            case "square":
                self.add(ops.Mul(), x, x)
            case "sum" | "max":
                self.add((ops.Sum if kind == "sum" else ops.Max)(axes), x)
            case "argmax":
                self.add(ops.ArgMax(axes[:1]), x)
            case "rescale":
                self.add(ops.Rescale(int(self.random.choice([1, 2, 3, 10, 256, 1000]))), x)
            case "divide":
                y = self._partner(x)
                positive = self.add(ops.Clamp(1, max(1, self.facts[y].hi)), y)
                if positive is not None:
                    self.add(ops.Divide(), x, positive)
            case "clamp":
                low = int(self.random.integers(-300, 300))
                self.add(ops.Clamp(low, low + int(self.random.integers(0, 500))), x)
            case "lookup":
                clamped = self.add(ops.Clamp(-8, 7), x)
                if clamped is not None:
                    self.add(ops.Lookup(-8, self.random.integers(-(2**40), 2**40, size=16)), clamped)
            case "matmul" if rank >= 2:
                columns = int(self.random.integers(1, 4))
                self.add(ops.MatMul(), x, self.constant((*fact.shape[:-2], fact.shape[-1], columns)))
            case "conv2d":
                self._conv2d(x)
            case "weight":
                self.constant(fact.shape)

    def _partner(self, x: int) -> int:
        """Return another tensor that broadcasts with x."""
        shape = self.facts[x].shape
        same = [i for i, fact in enumerate(self.facts) if fact.shape == shape]
        if self.random.integers(2):
            return int(self.random.choice(same))
        return self.constant(tuple(n if self.random.integers(2) else 1 for n in shape))

    def _wire(self, inputs: Sequence[int]) -> None:
        pool = sum(self.facts[i].size for i in inputs)
        choice = self.random.integers(3)
        if choice == 0:
            index = self.random.integers(0, pool, size=tuple(self.random.integers(1, 4, size=2)))
        elif choice == 1:
            index = np.arange(pool).reshape(1, -1)[:, :: -1 if self.random.integers(2) else 1]
        else:
            shape = self.facts[inputs[0]].shape
            index = np.arange(self.facts[inputs[0]].size).reshape(shape).transpose()
        self.add(ops.Wire.from_index(np.asarray(index, dtype=np.int64)), *inputs)

    def _conv2d(self, x: int) -> None:
        size = self.facts[x].size
        image = self.add(ops.Wire.from_index(np.arange(size).reshape(1, 1, 1, size)), x)
        groups = int(self.random.integers(1, 3))
        if groups == 2:
            image = self.add(ops.Wire.from_index(np.tile(np.arange(size), 2).reshape(1, 2, 1, size)), x)
        if image is None:
            return
        kernels = self.constant((2, 1, int(self.random.integers(1, 3)), int(self.random.integers(1, 4))))
        pads = tuple(int(n) for n in self.random.integers(0, 3, size=4))
        strides, dilations = (tuple(int(n) for n in self.random.integers(1, 3, size=2)) for _ in range(2))
        self.add(ops.Conv2d(strides, pads, dilations, groups), image, kernels)

    def model(self) -> IntegerModel:
        """Return the model; all tensors that nobody reads are outputs."""
        read = {i for node in self.nodes for i in node.inputs}
        outputs = tuple(Output(f"o{i}", i) for i in range(len(self.nodes)) if i not in read)
        return IntegerModel(tuple(self.nodes), outputs, self.weights)


def random_model(seed: int, nodes: int = 14) -> IntegerModel:
    """Return a random model of about so many nodes."""
    growing = Growing(np.random.Generator(np.random.PCG64(seed)))
    for _ in range(nodes):
        growing.grow()
    return growing.model()


def random_inputs(model: IntegerModel, seed: int, samples: int) -> dict[str, np.ndarray]:
    """Return integers in the inputs' intervals: the ends, and random ones."""
    generator = np.random.Generator(np.random.PCG64(seed))
    batch = {}
    for _, op in model.inputs:
        values = generator.integers(op.lo, op.hi + 1, size=(samples, *op.to))
        values[0], values[1 % samples] = op.lo, op.hi
        ends = generator.integers(0, 2, size=values[2 % samples].shape).astype(bool)
        values[2 % samples] = np.where(ends, op.lo, op.hi)
        batch[op.label] = values
    return batch
