"""An integer graph while a converter builds it from a format that already is integers: exact, and without samples."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from balance_core.errors import UnsupportedModel
from balance_core.integer.facts import Fact, Inadmissible, Interval
from balance_core.integer.model import IntegerModel, Node, Output, checked_fact
from balance_core.integer.operations import (
    Add,
    Clamp,
    Constant,
    Input,
    Less,
    Lookup,
    Max,
    Mul,
    Operation,
    Rescale,
    Sub,
    Sum,
    Wire,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_TENSOR = 2**23
"""Largest number of elements of one tensor of an imported model, so that reading one never takes a gigabyte."""
MAX_TOTAL = 2**27
"""Largest number of elements of all tensors of an imported model together."""
UNIT = Fraction(1)


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph: its place, and what is known of its integers."""

    place: int
    fact: Fact

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.fact.shape


class ExactGraph:
    """Adds operations one by one, each checked as it comes; raises Inadmissible for what cannot be.

    Equal operations on equal operands are made once, and a re-indexing of a re-indexing is one.
    """

    def __init__(self) -> None:
        self.label = ""
        """The name of the layer that is being converted, given to every node added."""
        self._nodes: list[Node] = []
        self._facts: list[Fact] = []
        self._weights: dict[int, np.ndarray] = {}
        self._known: dict[Any, Tensor] = {}
        self._elements = 0

    def input(
        self, name: str, shape: Sequence[int], interval: Interval, scale: Fraction, zero_point: int = 0
    ) -> Tensor:
        """Add an input of integers in an interval."""
        return self._append(Input(name, tuple(shape), *interval), (), scale, zero_point)

    def weight(self, integers: np.ndarray, lo: int | None = None, hi: int | None = None) -> Tensor:
        """Add integers that are kept apart from the structure; by default in the least range of whole bits."""
        array = np.ascontiguousarray(integers, dtype=np.int64)
        if lo is None or hi is None:
            bound = (1 << max(1, int(np.abs(array).max(initial=0)).bit_length())) - 1
            lo, hi = -bound, bound
        op = Constant(tuple(array.shape), lo, hi, None)
        key = ("weight", array.shape, lo, hi, array.tobytes())
        if key not in self._known:
            self._known[key] = self._append(op, ())
            self._weights[self._known[key].place] = array
        return self._known[key]

    def constant(self, integers: np.ndarray | int, rank: int = 0) -> Tensor:
        """Add integers that are part of the structure; a single one gets `rank` axes of 1."""
        array = np.asarray(integers, dtype=np.int64)
        return self.emit(Constant.listed(array.reshape((1,) * rank) if array.ndim == 0 else array))

    def emit(self, op: Operation, *operands: Tensor) -> Tensor:
        """Add an operation, or return the tensor that already holds its result."""
        inputs = tuple(x.place for x in operands)
        if isinstance(op, Wire) and len(operands) == 1:
            source = self._nodes[inputs[0]].operation
            if isinstance(source, Wire):
                op = Wire.from_index(source.index().reshape(-1)[op.index()])
                inputs = self._nodes[inputs[0]].inputs
            if op.is_reshape and len(inputs) == 1 and op.to == self._facts[inputs[0]].shape:
                return Tensor(inputs[0], self._facts[inputs[0]])
        key = (op.code, op.key, inputs)
        if key not in self._known:
            self._known[key] = self._append(op, inputs)
        return self._known[key]

    def _append(self, op: Operation, inputs: tuple[int, ...], scale: Fraction = UNIT, zero_point: int = 0) -> Tensor:
        fact = checked_fact(op, tuple(self._facts[i] for i in inputs))
        self._elements += check_size(fact.shape)
        if self._elements > MAX_TOTAL:
            raise Inadmissible(f"the tensors of the model hold more than {MAX_TOTAL} elements")
        self._nodes.append(Node(op, inputs, scale, zero_point, self.label))
        self._facts.append(fact)
        return Tensor(len(self._nodes) - 1, fact)

    def finish(self, outputs: Iterable[tuple[str, Tensor, Fraction, int]]) -> IntegerModel:
        """Return the model of all inputs and of what the outputs need; an output has a name, scale and zero point."""
        results = list(outputs)
        if not results:
            raise UnsupportedModel("the model has no output")
        taken: dict[int, tuple[Fraction, int]] = {}
        ends = []
        for name, tensor, scale, zero_point in results:
            place = tensor.place
            node = self._nodes[place]
            if isinstance(node.operation, Input) and (node.scale, node.zero_point) == (scale, zero_point):
                taken[place] = (scale, zero_point)
            if isinstance(node.operation, Input) or taken.setdefault(place, (scale, zero_point)) != (
                scale,
                zero_point,
            ):
                self.label = name
                same = Wire(tensor.shape, (tensor.fact.size,), (1,), 0, None)
                place = self._append(same, (place,)).place
                taken[place] = (scale, zero_point)
            ends.append((name, place))
        needed = {place for _, place in ends}
        for place in range(len(self._nodes) - 1, -1, -1):
            node = self._nodes[place]
            if place in needed:
                needed.update(node.inputs)
            elif isinstance(node.operation, Input):
                needed.add(place)
        moved = {old: new for new, old in enumerate(sorted(needed))}
        nodes = []
        for old in moved:
            node = self._nodes[old]
            scale, zero_point = taken.get(old, (node.scale, node.zero_point))
            nodes.append(Node(node.operation, tuple(moved[i] for i in node.inputs), scale, zero_point, node.label))
        weights = {moved[old]: array for old, array in self._weights.items() if old in moved}
        if not self._depends_on_input(ends):
            raise UnsupportedModel("no output of the model depends on its inputs")
        return IntegerModel(tuple(nodes), tuple(Output(name, moved[place]) for name, place in ends), weights)

    def _depends_on_input(self, ends: Sequence[tuple[str, int]]) -> bool:
        depends: set[int] = set()
        for place, node in enumerate(self._nodes):
            if isinstance(node.operation, Input) or depends.intersection(node.inputs):
                depends.add(place)
        return any(place in depends for _, place in ends)

    # What formats are written in.

    def wire(self, index: np.ndarray, *operands: Tensor) -> Tensor:
        """Re-index: element i of the result is element index[i] of all operands laid end to end."""
        return self.emit(Wire.from_index(index), *operands)

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Give the elements, in their order, another shape."""
        if prod(shape) != x.fact.size:
            raise Inadmissible(f"{x.fact.size} elements do not fill the shape {tuple(shape)}")
        return self.emit(Wire(tuple(shape), (x.fact.size,), (1,), 0, None), x)

    def transpose(self, x: Tensor, order: Sequence[int]) -> Tensor:
        """Permute the axes."""
        if sorted(order) != list(range(len(x.shape))):
            raise Inadmissible(f"{tuple(order)} is no order of the axes of {x.shape}")
        return self.wire(positions(x.shape).transpose(order), x)

    def broadcast(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Repeat axes of 1 (and missing leading ones) to fill a shape."""
        check_size(shape)
        try:
            return self.wire(np.broadcast_to(positions(x.shape), tuple(shape)), x)
        except ValueError:
            raise Inadmissible(f"shape {x.shape} does not broadcast to {tuple(shape)}") from None

    def aligned(self, *operands: Tensor) -> list[Tensor]:
        """Give all operands the rank of the largest, with leading axes of 1."""
        rank = max(len(x.shape) for x in operands)
        return [self.reshape(x, (1,) * (rank - len(x.shape)) + x.shape) for x in operands]

    def concatenate(self, operands: Sequence[Tensor], axis: int) -> Tensor:
        """Lay tensors side by side along an axis."""
        if len(operands) == 1:
            return operands[0]
        start, parts = 0, []
        for x in operands:
            parts.append(positions(x.shape) + start)
            start += x.fact.size
        check_size((start,))
        try:
            return self.wire(np.concatenate(parts, axis=axis), *operands)
        except ValueError:
            shapes = ", ".join(str(x.shape) for x in operands)
            raise Inadmissible(f"shapes {shapes} cannot be laid side by side along axis {axis}") from None

    def pad(self, x: Tensor, widths: Sequence[tuple[int, int]], value: int) -> Tensor:
        """Surround a tensor with one integer."""
        if len(widths) != len(x.shape) or any(not 0 <= n <= MAX_TENSOR for pair in widths for n in pair):
            raise Inadmissible(f"paddings {tuple(widths)} do not fit the shape {x.shape}")
        if not any(n for pair in widths for n in pair):
            return x
        check_size([n + sum(pair) for n, pair in zip(x.shape, widths, strict=True)])
        index = np.pad(positions(x.shape), widths, constant_values=x.fact.size)
        return self.wire(index, x, self.constant(np.array([value])))

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """X + y with broadcasting."""
        return self.emit(Add(), *self.aligned(x, y))

    def sub(self, x: Tensor, y: Tensor) -> Tensor:
        """X - y with broadcasting."""
        return self.emit(Sub(), *self.aligned(x, y))

    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        """X * y with broadcasting."""
        return self.emit(Mul(), *self.aligned(x, y))

    def shift(self, x: Tensor, by: int) -> Tensor:
        """X plus a constant."""
        return x if by == 0 else self.add(x, self.constant(by, len(x.shape)))

    def times(self, x: Tensor, factor: int) -> Tensor:
        """X times a constant."""
        return x if factor == 1 else self.mul(x, self.constant(factor, len(x.shape)))

    def clamp(self, x: Tensor, lo: int, hi: int) -> Tensor:
        """Saturate to [lo, hi], unless x never leaves it."""
        return x if lo <= x.fact.lo and x.fact.hi <= hi else self.emit(Clamp(lo, hi), x)

    def rescale(self, x: Tensor, divisor: int) -> Tensor:
        """X / divisor to the nearest integer, halves up."""
        return x if divisor == 1 else self.emit(Rescale(divisor), x)

    def negative(self, x: Tensor) -> Tensor:
        """1 where x < 0, else 0."""
        return self.emit(Less(), x, self.constant(0, len(x.shape)))

    def rescale_away(self, x: Tensor, divisor: int) -> Tensor:
        """X / divisor to the nearest integer, halves away from zero: halves go up, and down where x is negative."""
        if divisor % 2 or x.fact.lo >= 0:  # without halves, or without negatives, there is nothing to mend
            return self.rescale(x, divisor)
        return self.rescale(self.sub(x, self.negative(x)), divisor)

    def sum(self, x: Tensor, axes: Iterable[int]) -> Tensor:
        """Sum over axes, kept as size 1."""
        kept = tuple(sorted(set(axes)))
        return self.emit(Sum(kept), x) if kept else x

    def max(self, x: Tensor, axes: Iterable[int]) -> Tensor:
        """Maximum over axes, kept as size 1."""
        kept = tuple(sorted(set(axes)))
        return self.emit(Max(kept), x) if kept else x

    def maximum(self, x: Tensor, y: Tensor) -> Tensor:
        """The larger of two, with broadcasting."""
        a, b = self.aligned(x, y)
        shape = np.broadcast_shapes(a.shape, b.shape)
        pair = [self.reshape(self.broadcast(each, shape), (1, *shape)) for each in (a, b)]
        return self.reshape(self.max(self.concatenate(pair, 0), [0]), shape)

    def minimum(self, x: Tensor, y: Tensor) -> Tensor:
        """The smaller of two, with broadcasting."""
        return self.times(self.maximum(self.times(x, -1), self.times(y, -1)), -1)

    def select(self, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """X where the condition (0 or 1) holds, else y."""
        chosen = self.add(self.mul(condition, self.sub(x, y)), y)
        return self.clamp(chosen, min(x.fact.lo, y.fact.lo), max(x.fact.hi, y.fact.hi))

    def less(self, x: Tensor, y: Tensor) -> Tensor:
        """1 where x < y, else 0, with broadcasting."""
        return self.emit(Less(), *self.aligned(x, y))

    def table(self, x: Tensor, first: int, entries: Sequence[int] | np.ndarray) -> Tensor:
        """Look up: the result for x is entries[x - first]."""
        return self.emit(Lookup(first, np.asarray(entries, dtype=np.int64)), x)


def positions(shape: Sequence[int]) -> np.ndarray:
    """Return the row-major position of each element of a tensor; raises Inadmissible when there are too many."""
    return np.arange(check_size(shape), dtype=np.int64).reshape(tuple(shape))


def check_size(shape: Sequence[int]) -> int:
    """Return the number of elements; raises Inadmissible for an empty axis or too many elements."""
    count = 1
    for n in shape:
        if n < 1:
            raise Inadmissible(f"shape {tuple(shape)} holds an empty axis")
        count *= n
        if count > MAX_TENSOR:
            raise Inadmissible(f"shape {tuple(shape)} holds more than the {MAX_TENSOR} elements allowed")
    return count


def windows(
    size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """Return for each place of a window and each output pixel the input pixel there, or -1 outside.

    The index has shape [kh*kw, oh*ow]; also returned is (oh, ow). `pads` are top, left, bottom, right.
    """
    if min(*kernel, *strides, *size) < 1:
        raise Inadmissible(f"windows of {tuple(kernel)} by {tuple(strides)} do not fit an image of {tuple(size)}")
    counts = []
    for axis in range(2):
        span = size[axis] + pads[axis] + pads[axis + 2] - kernel[axis]
        if span < 0:
            raise Inadmissible("the window is larger than the padded image")
        counts.append(span // strides[axis] + 1)
    check_size((*kernel, *counts))
    rows, columns = (
        np.arange(kernel[a])[:, None] + np.arange(counts[a])[None, :] * strides[a] - pads[a] for a in range(2)
    )
    inside = ((rows >= 0) & (rows < size[0]))[:, None, :, None] & ((columns >= 0) & (columns < size[1]))[
        None, :, None
    ]
    index = rows[:, None, :, None] * size[1] + columns[None, :, None]
    flat = np.where(inside, index, -1).reshape(kernel[0] * kernel[1], counts[0] * counts[1])
    return flat, (counts[0], counts[1])


def same_padding(size: Sequence[int], kernel: Sequence[int], strides: Sequence[int]) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right so that there is a window for every stride begun; the odd one is at the end."""
    if min(*kernel, *strides, *size) < 1:
        raise Inadmissible(f"windows of {tuple(kernel)} by {tuple(strides)} do not fit an image of {tuple(size)}")
    pads = []
    for n, k, s in zip(size, kernel, strides, strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        pads.append((total // 2, total - total // 2))
    return pads[0][0], pads[1][0], pads[0][1], pads[1][1]
