"""Any re-indexing: reshape, transpose, slice, broadcast, concatenation, padding, gathering by constants."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from balance_core.integer.facts import MAX_LISTED, MAX_TOTAL, Inadmissible, check_shape
from balance_core.integer.operations.base import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.codec import Reader, Writer
    from balance_core.integer.facts import Fact, Interval, Shape

MAX_LOOPS = 16
"""Largest number of nested loops of a regular index."""
FEW = 2**12
"""So many elements are gathered one by one before views and their copies are faster."""


@dataclass(frozen=True, eq=False)
class Wire(Operation):
    """Element i of the result (row-major) is element index[i] of all operands laid end to end (row-major).

    A regular index is given by nested loops, outermost first: index = offset + sum of i_j * stride_j. Any other is
    given as a list, and then `loops` is empty.
    """

    code: ClassVar[int] = 2
    name: ClassVar[str] = "wire"
    arity: ClassVar[int | None] = None
    meaning: ClassVar[str] = (
        "result[i] = pool[index[i]], pool being all operands flattened and laid end to end; index[i] = offset + "
        "sum of i_j * stride_j, i_j being the digits of i in the mixed radix of the loops' counts, or listed"
    )
    shape_rule: ClassVar[str] = "the attribute; as many elements as the index has, all of them inside the pool"
    interval_rule: ClassVar[str] = "least lo and largest hi of all operands"
    attributes: ClassVar[str] = (
        "shape; loops as counts (outermost first) and strides; offset; if there are no loops, the listed index as "
        "differences, the first from 0"
    )

    to: Shape
    counts: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    listed: np.ndarray | None

    def shape(self, operands: Sequence[Fact]) -> Shape:
        """Return the attribute, once every index is known to stand in the pool."""
        check_shape(self.to)
        if self.listed is not None and self.listed.size > MAX_LISTED:
            raise Inadmissible(
                f"an index of {self.listed.size} elements without order exceeds the {MAX_LISTED} allowed"
            )
        pool = sum(x.size for x in operands)
        if self.listed is None:
            if len(self.counts) != len(self.strides) or not self.counts or min(self.counts) < 1:
                raise Inadmissible("the loops of a wire need positive counts, and a stride each")
            size = prod(self.counts)
            ends = [(n - 1) * stride for n, stride in zip(self.counts, self.strides, strict=True)]
            low = self.offset + sum(min(end, 0) for end in ends)
            high = self.offset + sum(max(end, 0) for end in ends)
        else:
            size, low, high = self.listed.size, int(self.listed.min()), int(self.listed.max())
        if size != prod(self.to):
            raise Inadmissible(f"a wire of {size} elements does not fill the shape {self.to}")
        if low < 0 or high >= pool:
            raise Inadmissible(f"a wire reads elements {low} to {high} of {pool}")
        return self.to

    def interval(self, operands: Sequence[Fact]) -> Interval:
        """Join the operands' intervals."""
        return min(x.lo for x in operands), max(x.hi for x in operands)

    def run(self, arrays: Sequence[np.ndarray], operands: Sequence[Fact]) -> np.ndarray:
        """Re-index; regular indices of many elements become views."""
        del operands
        batch = max(array.shape[0] for array in arrays)
        if len(arrays) == 1 and self.is_reshape and arrays[0].size == batch * self.size:
            return arrays[0].reshape(batch, *self.to)
        flat = [array.reshape(array.shape[0], -1) for array in arrays]
        joined = flat[0]
        if len(flat) > 1:
            joined = np.concatenate([np.broadcast_to(x, (batch, x.shape[1])) for x in flat], axis=1)
        pool = np.ascontiguousarray(
            joined
        )  # numpy may join in another order, and the strides below count on this one
        if self.listed is not None or batch * self.size <= FEW:
            return pool.take(self._index, axis=1).reshape(batch, *self.to)
        unit = pool.itemsize
        view = np.lib.stride_tricks.as_strided(
            pool[:, self.offset :],
            shape=(batch, *self.counts),
            strides=(pool.strides[0], *(stride * unit for stride in self.strides)),
            writeable=False,
        )
        return view.reshape(batch, *self.to)

    def index(self) -> np.ndarray:
        """Return the position in the pool of each element of the result, as int64 of the result's shape."""
        if self.listed is not None:
            return self.listed.reshape(self.to)
        index = np.full((), self.offset, dtype=np.int64)
        for count, stride in zip(self.counts, self.strides, strict=True):
            index = index[..., None] + np.arange(count, dtype=np.int64) * stride
        return index.reshape(self.to)

    @cached_property
    def size(self) -> int:
        """The number of elements of the result."""
        return prod(self.to)

    @cached_property
    def _index(self) -> np.ndarray:
        return self.index().reshape(-1)

    @cached_property
    def is_reshape(self) -> bool:
        """Whether the elements of the first operand keep their order, from its first."""
        return self.listed is None and self.offset == 0 and self.strides == (1,)

    @classmethod
    def from_index(cls, index: np.ndarray) -> Self:
        """Make the wire of an index array, with loops where they reproduce it."""
        shape = tuple(int(n) for n in index.shape)
        flat = np.ascontiguousarray(index, dtype=np.int64).reshape(-1)
        loops = _loops(flat)
        if loops is None:
            return cls(shape, (), (), 0, flat)
        return cls(shape, tuple(n for n, _ in loops), tuple(stride for _, stride in loops), int(flat[0]), None)

    def write(self, out: Writer) -> None:
        """Append shape, loops and offset, or the listed index as differences."""
        out.uints(self.to)
        out.uints(self.counts)
        out.sints(self.strides)
        out.sint(self.offset)
        if self.listed is not None:
            out.array(np.diff(self.listed, prepend=0))

    @classmethod
    def read(cls, source: Reader) -> Self:
        """Take a wire from untrusted bytes."""
        to, counts, strides = source.uints(8), source.uints(MAX_LOOPS), source.sints(MAX_LOOPS)
        offset = source.sint()
        if counts:
            return cls(to, counts, strides, offset, None)
        steps = source.array(MAX_LISTED)
        if not steps.size or strides or offset:
            raise source.fail("a wire has neither loops nor a listed index alone")
        if int(steps.min()) < -MAX_TOTAL or int(steps.max()) > MAX_TOTAL:
            raise source.fail("an index of a wire is out of every range")
        return cls(to, (), (), 0, np.cumsum(steps))

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two wires the same."""
        listed = None if self.listed is None else self.listed.tobytes()
        return self.to, self.counts, self.strides, self.offset, listed


def _loops(flat: np.ndarray) -> list[tuple[int, int]] | None:
    """Find nested loops, outermost first, that produce the index; None when there are none."""
    loops: list[tuple[int, int]] = []
    while flat.size > 1:
        steps = np.diff(flat)
        stride = int(steps[0])
        breaks = np.flatnonzero(steps != stride)
        count = int(breaks[0]) + 1 if breaks.size else flat.size
        if flat.size % count or len(loops) == MAX_LOOPS:
            return None
        blocks = flat.reshape(-1, count)
        if (blocks != blocks[:, :1] + np.arange(count, dtype=np.int64) * stride).any():
            return None
        loops.append((count, stride))
        flat = np.ascontiguousarray(blocks[:, 0])
    return loops[::-1] or [(1, 1)]
