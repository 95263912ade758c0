"""Random models of images: convolutions of any stride, and layers that each read a part of one tensor."""

from __future__ import annotations

import numpy as np

from balance_core.integer import IntegerModel, Node, Output
from balance_core.integer import operations as ops


class _Builder:
    """Nodes so far, and where their randomness comes from."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.weights: dict[int, np.ndarray] = {}

    def number(self, low: int, high: int) -> int:
        """Return a number from low to high, both among them."""
        return int(self.random.integers(low, high + 1))

    def add(self, operation: ops.Operation, *inputs: int) -> int:
        self.nodes.append(Node(operation, inputs))
        return len(self.nodes) - 1

    def constant(self, *shape: int) -> int:
        bound = int(self.random.choice([1, 7, 127, 3000]))
        place = self.add(ops.Constant(shape, -bound, bound, None))
        self.weights[place] = self.random.integers(-bound, bound + 1, size=shape)
        return place

    def narrowed(self, x: int) -> int:
        divided = self.add(ops.Rescale(int(self.random.choice([7, 64, 1024]))), x)
        return self.add(ops.Clamp(0, 63), divided)

    def convolved(self, x: int, shape: tuple[int, int, int]) -> tuple[int, tuple[int, int, int]]:
        """Add a convolution of an image of channels, rows and columns; returns it and the shape of its result."""
        channels, *size = shape
        pads = tuple(self.number(0, 2) for _ in range(4))
        strides, dilations = ((self.number(1, 3), self.number(1, 2)) for _ in range(2))
        padded = [size[axis] + pads[axis] + pads[axis + 2] for axis in range(2)]
        kernel = [self.number(1, min(4, 1 + (padded[axis] - 1) // dilations[axis])) for axis in range(2)]
        groups = channels if self.number(0, 4) == 0 else 1
        out = groups * self.number(1, 3)
        kernels = self.constant(out, channels // groups, *kernel)
        result = [(padded[a] - dilations[a] * (kernel[a] - 1) - 1) // strides[a] + 1 for a in range(2)]
        return self.add(ops.Conv2d(strides, pads, dilations, groups), x, kernels), (out, result[0], result[1])

    def branch(self, x: int, shape: tuple[int, int, int]) -> int:
        """Add a layer that reads some channels, and perhaps not every column, of an image; or just these."""
        index = np.arange(np.prod(shape)).reshape(shape)
        chosen = self.random.permutation(shape[0])[: self.number(1, shape[0])]
        index = index[np.sort(chosen)][:, :, self.number(0, 1) * (shape[2] > 1) :: self.number(1, 2)]
        kind = self.number(0, 3)
        if kind < 2:
            part = self.add(ops.Wire.from_index(index[np.newaxis]), x)
            return self.narrowed(self.convolved(part, index.shape)[0])
        part = self.add(ops.Wire.from_index(index.reshape(1, -1)), x)
        if kind == 2:
            part = self.add(ops.MatMul(), part, self.constant(index.size, self.number(1, 5)))
        return self.narrowed(part)


def random_image_model(seed: int) -> tuple[IntegerModel, dict[str, np.ndarray]]:
    """Return a model, and two images for it: one of random values, one of only the smallest and the largest."""
    builder = _Builder(seed)
    shape = (builder.number(1, 4), builder.number(3, 16), builder.number(3, 16))
    high = int(builder.random.choice([1, 63, 255, 4095]))
    low = -high * builder.number(0, 1)
    x = builder.add(ops.Input("x", (1, *shape), low, high))
    images = np.stack([builder.random.integers(low, high + 1, shape), builder.random.choice([low, high], shape)])
    for _ in range(builder.number(0, 2)):
        x, shape = builder.convolved(x, shape)
        x = builder.narrowed(x)
    outputs = [Output(f"y{i}", builder.branch(x, shape)) for i in range(builder.number(1, 3))]
    return IntegerModel(tuple(builder.nodes), tuple(outputs), builder.weights), {"x": images[:, np.newaxis]}
