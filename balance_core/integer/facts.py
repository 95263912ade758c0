"""What is known about a tensor of integers before any input is seen: its shape and the interval of its values."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

Shape = tuple[int, ...]
Interval = tuple[int, int]

SAFE = 2**62 - 1
"""Largest magnitude of any value and any intermediate of a kernel: a factor of two below the end of int64."""
EXACT_FLOAT = 2**53
"""Sums of products below this magnitude are exact in float64, in whatever order they are added."""
MAX_RANK = 8
"""Largest number of axes of a tensor."""
MAX_ELEMENTS = 2**26
"""Largest number of elements of one tensor."""
MAX_TOTAL = 2**27
"""Largest number of elements of all tensors of a model together."""
MAX_LISTED = 2**23
"""Largest number of elements of a constant or an index that the structure lists."""


class Inadmissible(ValueError):
    """An operation cannot be applied to these operands; the message says why, without the node's name."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Shape and interval [lo, hi] of a tensor; the interval holds for every admissible input and weight."""

    shape: Shape
    lo: int
    hi: int

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def magnitude(self) -> int:
        """The largest absolute value."""
        return max(abs(self.lo), abs(self.hi))

    @property
    def bits(self) -> int:
        """The number of bits that hold value - lo."""
        return (self.hi - self.lo).bit_length()


def check_shape(shape: Shape) -> Shape:
    """Return the shape; raises Inadmissible for too many axes, an empty axis or too many elements."""
    if len(shape) > MAX_RANK:
        raise Inadmissible(f"a tensor of rank {len(shape)} exceeds the {MAX_RANK} axes allowed")
    if any(n < 1 for n in shape):
        raise Inadmissible(f"shape {shape} holds an empty axis")
    if prod(shape) > MAX_ELEMENTS:
        raise Inadmissible(f"shape {shape} holds more than {MAX_ELEMENTS} elements")
    return shape


def check_interval(lo: int, hi: int) -> Interval:
    """Return the interval; raises Inadmissible when it is empty or leaves the safe width."""
    if lo > hi:
        raise Inadmissible(f"the interval [{lo}, {hi}] is empty")
    if lo < -SAFE or hi > SAFE:
        raise Inadmissible(f"values may reach {max(-lo, hi)}, beyond the safe width of 62 bits")
    return lo, hi


def broadcast(*shapes: Shape) -> Shape:
    """Return the common shape of operands of equal rank whose axes agree or are 1."""
    ranks = {len(shape) for shape in shapes}
    if len(ranks) != 1:
        raise Inadmissible(f"operands of different rank {sorted(ranks)}")
    result = []
    for axis in zip(*shapes, strict=True):
        size = max(axis)
        if any(n not in {1, size} for n in axis):
            raise Inadmissible(f"shapes {', '.join(map(str, shapes))} do not broadcast")
        result.append(size)
    return tuple(result)


def product_interval(a: Interval, b: Interval) -> Interval:
    """Return the interval of x * y for x in a and y in b."""
    corners = [x * y for x in a for y in b]
    return min(corners), max(corners)
