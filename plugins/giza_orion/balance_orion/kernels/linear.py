"""Matrix products and convolutions as blocks: results that share their operands' pattern.

A block has rows (turns of the loop) and lanes: result (row, lane) is the sum over k of x[row, k] * c[k, lane],
where x is computed and c is constant, or of x[row, k] * y[k, lane] where both are computed. The first kind is
packed (`packing`), the second is a sum of plain products, in which there is nothing to choose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from balance_core.integer.facts import Fact
    from balance_core.integer.operations import Conv2d, MatMul


@dataclass(frozen=True)
class Block:
    """Elements of operands and result by their place in the flattened tensors."""

    moving: int
    """Which operand x is: 0 or 1."""
    x: np.ndarray
    """[rows, k], elements of x, or of the padded images."""
    y: np.ndarray
    """[k, lanes], elements of the other operand."""
    result: np.ndarray
    """[rows, lanes]."""


def matmul_blocks(operation: MatMul, facts: list[Fact], moving: int) -> list[Block]:
    """Return a block for each matrix of the other operand."""
    left, right = (fact.shape for fact in facts)
    shape = operation.shape(facts)
    batch = shape[:-2]
    x = np.broadcast_to(np.arange(facts[0].size).reshape(left), (*batch, *left[-2:]))
    y = np.broadcast_to(np.arange(facts[1].size).reshape(right), (*batch, *right[-2:]))
    result = np.arange(int(np.prod(shape))).reshape(shape)
    if moving == 1:
        x, y, result = (np.swapaxes(array, -1, -2) for array in (y, x, result))
    x, y, result = (array.reshape(-1, *array.shape[-2:]) for array in (x, y, result))
    blocks: dict[bytes, list[int]] = {}
    for number, matrix in enumerate(y):
        blocks.setdefault(np.ascontiguousarray(matrix).tobytes(), []).append(number)
    return [
        Block(
            moving,
            np.concatenate([x[number] for number in numbers]),
            y[numbers[0]],
            np.concatenate([result[number] for number in numbers]),
        )
        for numbers in blocks.values()
    ]


def conv_blocks(operation: Conv2d, facts: list[Fact]) -> list[Block]:
    """Return a block for each group of channels; the images are those with their padding."""
    images, kernels = (fact.shape for fact in facts)
    top, left, bottom, right = operation.pads
    (sh, sw), (dh, dw) = operation.strides, operation.dilations
    padded = (images[0], images[1], images[2] + top + bottom, images[3] + left + right)
    place = np.arange(int(np.prod(padded))).reshape(padded)
    outputs, depth, kh, kw = kernels
    windows = np.lib.stride_tricks.sliding_window_view(place, ((kh - 1) * dh + 1, (kw - 1) * dw + 1), axis=(2, 3))
    windows = windows[:, :, ::sh, ::sw, ::dh, ::dw]
    shape = operation.shape(facts)
    result = np.arange(int(np.prod(shape))).reshape(shape)
    weights = np.arange(facts[1].size).reshape(outputs, depth * kh * kw)
    lanes = outputs // operation.groups
    blocks = []
    for group in range(operation.groups):
        part = windows[:, group * depth : (group + 1) * depth].transpose(0, 2, 3, 1, 4, 5)
        chosen = slice(group * lanes, (group + 1) * lanes)
        blocks.append(
            Block(
                0,
                part.reshape(-1, depth * kh * kw),
                weights[chosen].T,
                result[:, chosen].transpose(0, 2, 3, 1).reshape(-1, lanes),
            )
        )
    return blocks
