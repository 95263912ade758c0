"""Two-dimensional convolution (cross-correlation, as in ONNX)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from balance_core.integer.facts import EXACT_FLOAT, Inadmissible, product_interval
from balance_core.integer.operations.base import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.facts import Fact, Interval, Shape
    from balance_core.integer.operations.base import Kernel

FEW = 2**17
"""Patches of one image of so many elements have their places kept with the plan."""
MANY = 2**16
"""So many elements are gathered one by one before views and their copies are faster."""


@dataclass(frozen=True, eq=False)
class Conv2d(Operation):
    """The convolution of images with kernels; positions outside an image count as 0."""

    code: ClassVar[int] = 8
    name: ClassVar[str] = "conv2d"
    arity: ClassVar[int | None] = 2
    meaning: ClassVar[str] = (
        "sum over c, a, b of x[n, g*C + c, i*sh - top + a*dh, j*sw - left + b*dw] * w[o, c, a, b], x = 0 outside, "
        "w of shape [O, C, kh, kw] and g = floor(o / (O / groups))"
    )
    shape_rule: ClassVar[str] = (
        "[N, groups*C, H, W] and [O, C, kh, kw] give [N, O, oh, ow] with "
        "oh = floor((H + top + bottom - (kh - 1)*dh - 1) / sh) + 1, ow likewise; groups divides O"
    )
    interval_rule: ClassVar[str] = (
        "C*kh*kw times the least and the largest of the four products of ends, taken with 0 when any pad is positive"
    )
    attributes: ClassVar[str] = (
        "strides (sh, sw); pads (top, left, bottom, right), 0 or more; dilations (dh, dw); groups"
    )

    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int

    def shape(self, operands: Sequence[Fact]) -> Shape:
        """Return [N, O, oh, ow]."""
        x, w = (operand.shape for operand in operands)
        if len(x) != 4 or len(w) != 4:
            raise Inadmissible(f"conv2d takes tensors of rank 4, not {x} and {w}")
        if (len(self.strides), len(self.pads), len(self.dilations)) != (2, 4, 2):
            raise Inadmissible("conv2d takes 2 strides, 4 pads and 2 dilations")
        if min(*self.strides, *self.dilations, self.groups) < 1 or min(self.pads) < 0:
            raise Inadmissible("conv2d takes positive strides, dilations and groups, and pads of 0 or more")
        if w[1] * self.groups != x[1] or w[0] % self.groups:
            raise Inadmissible(f"kernels of shape {w} in {self.groups} groups do not fit images of shape {x}")
        size = []
        for axis in range(2):
            span = x[2 + axis] + self.pads[axis] + self.pads[axis + 2] - (w[2 + axis] - 1) * self.dilations[axis] - 1
            if span < 0:
                raise Inadmissible(f"kernels of shape {w} are larger than the padded image {x}")
            if max(self.pads) > 2**16:
                raise Inadmissible(f"pads {self.pads} are too large")
            size.append(span // self.strides[axis] + 1)
        return (x[0], w[0], *size)

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Multiply the interval of one product by the number of products."""
        x, w = operands
        low, high = product_interval((x.lo, x.hi), (w.lo, w.hi))
        if any(self.pads):
            low, high = min(low, 0), max(high, 0)
        count = w.shape[1] * w.shape[2] * w.shape[3]
        return low * count, high * count

    def peak(self, magnitudes: Sequence[int], operands: Sequence[Fact]) -> int:
        """Bound every partial sum."""
        w = operands[1].shape
        return magnitudes[0] * magnitudes[1] * w[1] * w[2] * w[3]

    def exact_in_float(self, operands: Sequence[Fact]) -> bool:
        """Whether float64 computes every partial sum exactly."""
        return self.peak([x.magnitude for x in operands], operands) < EXACT_FLOAT

    def macs(self, operands: Sequence[Fact]) -> int:
        """One for each term of each element of the result."""
        return prod(self.shape(operands)) * prod(operands[1].shape[1:])

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Convolve."""
        return self.kernel(operands)(arrays)

    def kernel(self, operands: Sequence[Fact]) -> Kernel:
        """Convolve: patches as columns, then one matrix product for each group."""
        dtype = np.dtype(np.float64 if self.exact_in_float(operands) else np.int64)
        images, channels, height, width = operands[0].shape
        outputs, depth, kh, kw = operands[1].shape
        _, _, rows, columns = self.shape(operands)
        top, left, bottom, right = self.pads
        tall, wide = height + top + bottom, width + left + right
        terms, positions, per_group = depth * kh * kw, rows * columns, outputs // self.groups
        index = self._patches((channels, tall, wide), (kh, kw), (rows, columns)) if terms * positions <= FEW else None

        def convolve(arrays: Sequence[np.ndarray]) -> np.ndarray:
            x, w = arrays
            if w.shape[0] != 1:  # kernels that depend on the input: one convolution for each sample
                x = np.broadcast_to(x, (len(w), *x.shape[1:]))
                return np.concatenate([convolve([x[i : i + 1], w[i : i + 1]]) for i in range(len(w))])
            count = x.shape[0] * images
            padded = x.reshape(count, channels, height, width)
            if any(self.pads):
                padded = np.zeros((count, channels, tall, wide), dtype=dtype)
                padded[:, :, top : top + height, left : left + width] = x.reshape(count, channels, height, width)
            padded = padded.astype(dtype, copy=False)
            if index is not None and count * index.size <= MANY:
                patches = padded.reshape(count, -1).take(index, axis=1)
            else:
                patches = self._windows(padded, kh, kw).reshape(count, self.groups, terms, positions)
            weights = w.astype(dtype, copy=False).reshape(self.groups, per_group, terms)
            result = np.matmul(weights, patches).astype(np.int64, copy=False)
            return np.asarray(result.reshape(x.shape[0], images, outputs, rows, columns))

        return convolve

    def _windows(self, padded: np.ndarray, kh: int, kw: int) -> np.ndarray:
        """Return a view of shape [count, channels, kh, kw, rows, columns]."""
        (sh, sw), (dh, dw) = self.strides, self.dilations
        windows = np.lib.stride_tricks.sliding_window_view(
            padded, ((kh - 1) * dh + 1, (kw - 1) * dw + 1), axis=(2, 3)
        )[:, :, ::sh, ::sw, ::dh, ::dw]
        return windows.transpose(0, 1, 4, 5, 2, 3)

    def _patches(self, image: tuple[int, int, int], kernel: tuple[int, int], result: tuple[int, int]) -> np.ndarray:
        """Return where in a padded image each factor lies: [groups, terms, positions]."""
        places = np.arange(prod(image), dtype=np.int64).reshape(1, *image)
        return np.ascontiguousarray(self._windows(places, *kernel)).reshape(self.groups, -1, prod(result))
