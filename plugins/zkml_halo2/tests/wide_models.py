"""Random models whose sums are wide beside a table, so that quotients and clamps take two rows in all their forms."""

from __future__ import annotations

import random

import numpy as np

from balance_core.integer import IntegerModel, Node, Output
from balance_core.integer import operations as ops


class Builder:
    """Adds nodes, and keeps how large what it made last may be."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.weights: dict[int, np.ndarray] = {}
        self.bound = self.random.choice([100, 2**10, 2**14])
        shapes = [(1, 1, 5, 4), (1, 2, 4, 4), (1, 3, 6, 5), (1, 4), (2, 3), (5, 8)]
        self.shape = self.random.choice(shapes)
        self.last = self.add(ops.Input("x", self.shape, -self.bound, self.bound))
        self.outputs: list[int] = []

    def add(self, operation, *inputs):
        self.nodes.append(Node(operation, inputs))
        return len(self.nodes) - 1

    def constant(self, shape, largest):
        at = self.add(ops.Constant(shape, -largest, largest, None))
        self.weights[at] = self.numbers.integers(-largest, largest + 1, shape)
        return at

    def then(self, operation, *others):
        self.last = self.add(operation, self.last, *others)

    def layer(self):
        """Add a layer, with a bias or none, and round its results; some are clamped, some are outputs."""
        pick = self.random.choice
        weights = pick([3, 63, 1023])
        if len(self.shape) == 4:
            _, channels, height, width = self.shape
            outputs, side = pick([1, 3, 4, 9]), pick([1, 2, 3]) if min(height, width) >= 3 else 1
            stride, pad = pick([1, 1, 2]), pick([0, 0, 1]) if side > 1 else 0
            kernel = self.constant((outputs, channels, side, side), weights)
            self.then(ops.Conv2d((stride, stride), (pad,) * 4, (1, 1), 1), kernel)
            size = [(n + 2 * pad - side) // stride + 1 for n in (height, width)]
            self.shape, bias = (1, outputs, *size), (1, outputs, 1, 1)
        else:
            outputs = pick([2, 5, 9, 12])
            self.then(ops.MatMul(), self.constant((self.shape[1], outputs), weights))
            self.shape, bias = (self.shape[0], outputs), (1, outputs)
        if self.random.random() < 0.3:
            self.then(ops.Add(), self.constant(bias, pick([50, 5000])))
        self.then(ops.Rescale(pick([2, 6, 16, 50, 512])))
        if self.random.random() < 0.4:
            self.then(ops.Add(), self.constant(bias, pick([5, 500])))
        self.shown(0.2)
        if self.random.random() < 0.5:
            self.then(ops.Clamp(pick([0, 0, -100, -5000]), pick([63, 3072, 30000])))
            self.shown(0.2)
        if self.random.random() < 0.35:
            self.then(ops.Clamp(-2000, 2000))

    def shown(self, chance):
        if self.random.random() < chance:
            self.outputs.append(self.last)

    def end(self):
        """Read what there is in one more way: times itself, in another order, summed, or not at all."""
        way = self.random.choice(["product", "order", "sum", "square", "none"])
        size = int(np.prod(self.shape))
        if way == "product" and len(self.shape) == 2:
            self.then(ops.Clamp(-(2**14), 2**14))
            turned = self.add(ops.Wire.from_index(np.arange(size).reshape(self.shape).T), self.last)
            self.then(ops.MatMul(), turned)
            if self.random.random() < 0.6:
                self.then(ops.Rescale(self.random.choice([6, 512])))
        elif way == "order":
            self.then(ops.Wire.from_index(self.numbers.permutation(size).reshape(1, size)))
            self.then(ops.MatMul(), self.constant((size, 3), 7))
        elif way == "sum":
            self.then(ops.Sum((len(self.shape) - 1,)))
        elif way == "square":
            self.then(ops.Clamp(-3000, 3000))
            self.then(ops.Mul(), self.last)
        self.outputs.append(self.last)


def wide_model(seed):
    """Return a model, and four inputs: two by chance, and both ends of what it takes."""
    made = Builder(seed)
    shape = made.shape
    for _ in range(made.random.choice([1, 2, 2, 3])):
        made.layer()
    made.end()
    outputs = tuple(Output(f"y{at}", at) for at in dict.fromkeys(made.outputs))
    ends = [np.full((1, *shape), end) for end in (made.bound, -made.bound)]
    inputs = np.concatenate([made.numbers.integers(-made.bound, made.bound + 1, (2, *shape)), *ends])
    return IntegerModel(tuple(made.nodes), outputs, made.weights), inputs
