"""Arithmetic on reals: scales are tracked, precision is kept wide until a tensor is narrowed to its bit budget."""

from __future__ import annotations

from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from balance_core.errors import ConfigError
from balance_core.integer.facts import SAFE, Inadmissible, check_shape
from balance_core.integer.lowering.graph import Real
from balance_core.integer.lowering.scaling import finite, power_of_two_at_least, representable
from balance_core.integer.lowering.width import Widths
from balance_core.integer.operations import (
    Add,
    ArgMax,
    Constant,
    Conv2d,
    Divide,
    Less,
    MatMul,
    Max,
    Mul,
    Sub,
    Sum,
    Wire,
)
from balance_core.integer.recipe import AGAIN, exponent_of, only, scale_of

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADROOM = 4
"""Bits by which a narrow tensor is refined before a constant that its scale cannot hold is added."""


class Reals(Widths):
    """Operations on reals that add the integer operations for them to a graph."""

    # Shapes

    def wire(self, index: np.ndarray, *operands: Real) -> Real:
        """Re-index operands of one scale, laid end to end."""
        if not index.size:
            raise Inadmissible("the result is empty")
        check_shape(index.shape)
        if len({x.scale for x in operands}) != 1:
            raise Inadmissible("tensors of different scale are joined")
        exact = all(x.exact for x in operands)
        return self.graph.emit(Wire.from_index(index), *operands, scale=operands[0].scale, exact=exact)

    def copies(self, index: np.ndarray, x: Real) -> Real:
        """Re-index into more elements than there were: what is copied is narrowed before, not each copy."""
        return self.wire(index, self.narrow(x) if index.size > x.fact.size else x)

    def reshape(self, x: Real, shape: Sequence[int]) -> Real:
        """Give a tensor another shape of as many elements."""
        return x if tuple(shape) == x.shape else self.wire(positions(x.shape).reshape(tuple(shape)), x)

    def transpose(self, x: Real, order: Sequence[int]) -> Real:
        """Permute the axes."""
        return self.wire(positions(x.shape).transpose(tuple(order)), x)

    def expand(self, x: Real, shape: Sequence[int]) -> Real:
        """Broadcast to a shape, in ONNX's way."""
        return self.copies(np.broadcast_to(positions(x.shape), tuple(shape)), x)

    def aligned_rank(self, *operands: Real) -> list[Real]:
        """Give operands equal rank, in ONNX's way: axes of size 1 in front."""
        rank = max(len(x.shape) for x in operands)
        return [self.reshape(x, (1,) * (rank - len(x.shape)) + x.shape) for x in operands]

    def concat(self, operands: Sequence[Real], axis: int) -> Real:
        """Join along an axis, at a common scale."""
        same = self.common_scale(operands)
        offset, parts = 0, []
        for x in same:
            parts.append(positions(x.shape) + offset)
            offset += x.fact.size
        return self.wire(np.concatenate(parts, axis=axis), *same)

    def stack(self, operands: Sequence[Real]) -> Real:
        """Join along a new first axis, after broadcasting."""
        same = self.aligned_rank(*operands)
        shape = np.broadcast_shapes(*(x.shape for x in same))
        return self.concat([self.reshape(self.expand(x, shape), (1, *shape)) for x in same], 0)

    # Arithmetic

    def common_scale(self, operands: Sequence[Real]) -> list[Real]:
        """Express operands at the finest of their scales, or at a power of two below it."""
        scales = {x.scale for x in operands}
        finest = min(scales)
        if any((scale / finest).denominator != 1 for scale in scales):
            finest = 1 / power_of_two_at_least(1 / finest)
            if any(x.fact.magnitude * (x.scale / finest) > SAFE // 2**8 for x in operands):
                return self.common_scale([self.narrow(x) for x in operands])
        return [self.to_scale(x, finest) for x in operands]

    def add(self, x: Real, y: Real) -> Real:
        """Add."""
        a, b = self.common_scale(self.aligned_rank(x, y))
        return self.graph.emit(Add(), a, b, scale=a.scale, exact=x.exact and y.exact)

    def sub(self, x: Real, y: Real) -> Real:
        """Subtract."""
        a, b = self.common_scale(self.aligned_rank(x, y))
        return self.graph.emit(Sub(), a, b, scale=a.scale, exact=x.exact and y.exact)

    def negate(self, x: Real) -> Real:
        """-x."""
        zero = self.structural(np.zeros((1,) * len(x.shape)), x.scale)
        return self.graph.emit(Sub(), zero, x, scale=x.scale, exact=x.exact)

    def add_constant(self, x: Real, array: np.ndarray) -> Real:
        """Add a constant term; a scale too coarse for the constant is refined first."""
        reals = finite(array)
        chosen = self.graph.take("term", lambda: self._refinement(x, reals))
        if not chosen:
            if np.any(array):
                reason = f"the recipe is of a model where {self.graph.label} adds nothing, and here it does"
                raise ConfigError(reason, hint=AGAIN)
            return self.expand(x, np.broadcast_shapes(x.shape, array.shape))
        if len(chosen) == 2:
            x = self.to_scale(Real(x.tensor, x.scale, x.fact), scale_of(chosen[1:], self.graph.label))
        elif only(chosen, 0, HEADROOM, self.graph.label):
            x = self.to_scale(Real(x.tensor, x.scale, x.fact), x.scale / 2 ** chosen[0])
        elif self._is_coarse(x) and not representable(reals, x.scale):
            reason = f"{self.graph.label} adds multiples of {float(x.scale):.6g} by the recipe, and here it does not"
            raise ConfigError(reason, hint=AGAIN)
        a, b = self.aligned_rank(x, self.constant_at(reals, x.scale))
        return self.graph.emit(Add(), a, b, scale=x.scale, exact=x.exact)

    def _refinement(self, x: Real, reals: np.ndarray) -> tuple[int, ...]:
        """Choose how a constant is added: () for zeros, the bits by which the scale is refined, or (0, exponent)."""
        if not np.any(reals):
            return ()
        if not self._is_coarse(x) or representable(reals, x.scale):
            return (0,)
        if x.exact:
            span = Fraction(float(np.abs(reals).max())) + x.fact.magnitude * x.scale
            target = power_of_two_at_least(span / 2 ** (self.bits + 1))
            if target < x.scale / 2**HEADROOM:
                return (0, exponent_of(target))
        return (HEADROOM,)

    def _is_coarse(self, x: Real) -> bool:
        """Whether rounding a constant to the tensor's scale would cost accuracy."""
        return x.exact or x.fact.bits <= self.bits + HEADROOM

    def times(self, x: Real, factor: float | Fraction) -> Real:
        """Multiply by a scalar constant, which costs nothing: the scale takes it."""
        value = Fraction(factor)
        if value == 0:
            return self.structural(np.zeros(x.shape))
        if value < 0:
            return self.times(self.negate(x), -value)
        return Real(x.tensor, x.scale * value, x.fact)

    def mul(self, x: Real, y: Real) -> Real:
        """Multiply, both narrowed."""
        a, b = self.aligned_rank(self.narrow(x), self.narrow(y))
        return self.graph.emit(Mul(), a, b, scale=a.scale * b.scale, exact=x.exact and y.exact)

    def mul_constant(self, x: Real, array: np.ndarray) -> Real:
        """Multiply by a constant tensor."""
        values = np.unique(array)
        if not x.exact and self._is_uniform(values):
            return self.expand(
                self.times(x, Fraction(float(values[0]))), np.broadcast_shapes(x.shape, np.shape(array))
            )
        return self.mul(x, self.weight(array)) if not x.exact else self.product_of_integers(x, array)

    def _is_uniform(self, values: np.ndarray) -> bool:
        """Whether a factor of these distinct values is one scalar for the scale; in a replay, as the recipe says."""
        uniform = only(self.graph.take("uniform", lambda: (int(values.size == 1),)), 0, 1, self.graph.label)
        if uniform and values.size != 1:
            raise ConfigError(f"the factors of {self.graph.label} are all equal by the recipe", hint=AGAIN)
        return bool(uniform)

    def product_of_integers(self, x: Real, array: np.ndarray) -> Real:
        """Multiply an ONNX integer by a constant, exactly when that is an integer too."""
        factor = self.weight(array, 62) if np.issubdtype(array.dtype, np.integer) else self.weight(array)
        a, b = self.aligned_rank(x, factor)
        exact = np.issubdtype(array.dtype, np.integer)
        return self.graph.emit(Mul(), a, b, scale=a.scale * b.scale, exact=bool(exact))

    def mul_exact(self, x: Real, y: Real) -> Real:
        """Multiply without narrowing."""
        a, b = self.aligned_rank(x, y)
        return self.graph.emit(Mul(), a, b, scale=a.scale * b.scale, exact=x.exact and y.exact)

    def divide_exact(self, x: Real, y: Real) -> Real:
        """The integer quotient of two ONNX integers, the second positive, rounded half up."""
        return self.graph.emit(Divide(), x, y, scale=Fraction(1), exact=True)

    def square(self, x: Real) -> Real:
        """Multiply by itself, narrowed; never negative."""
        a = self.narrow(x)
        return self.graph.emit(Mul(), a, a, scale=a.scale**2, exact=x.exact)

    def sum(self, x: Real, axes: Sequence[int]) -> Real:
        """Sum over axes, kept as size 1."""
        if not axes:
            return x
        return self.graph.emit(Sum(tuple(sorted(axes))), x, scale=x.scale, exact=x.exact)

    def mean(self, x: Real, axes: Sequence[int]) -> Real:
        """Mean over axes, kept as size 1: the scale takes the division."""
        total = self.sum(Real(x.tensor, x.scale, x.fact), axes)
        return Real(total.tensor, total.scale / prod(x.shape[a] for a in axes), total.fact)

    def max(self, x: Real, axes: Sequence[int]) -> Real:
        """Maximum over axes, kept as size 1."""
        return self.max_exact(self.narrow(x), axes) if axes else x

    def max_exact(self, x: Real, axes: Sequence[int]) -> Real:
        """Maximum over axes without narrowing."""
        return self.graph.emit(Max(tuple(sorted(axes))), x, scale=x.scale, exact=x.exact)

    def min(self, x: Real, axes: Sequence[int]) -> Real:
        """Minimum over axes, kept as size 1."""
        return self.negate(self.max(self.negate(self.narrow(x)), axes)) if axes else x

    def argmax(self, x: Real, axis: int) -> Real:
        """First position of the largest value along an axis, kept as size 1."""
        return self.graph.emit(ArgMax((axis,)), x, scale=Fraction(1), exact=True)

    def pick(self, x: Real, at: int) -> Real:
        """Return x[at]."""
        return self.wire(positions(x.shape)[at], x)

    def equal(self, x: Real, y: Real) -> Real:
        """1 where x = y, exactly: neither is less."""
        a, b = self.common_scale(self.aligned_rank(x, y))
        either = self.graph.emit(Add(), self.less(a, b), self.less(b, a), scale=Fraction(1), exact=True)
        return self.negated(self.clamp(either, 0, 1))

    def less(self, x: Real, y: Real) -> Real:
        """1 where x < y, exactly."""
        a, b = self.common_scale(self.aligned_rank(x, y))
        return self.graph.emit(Less(), a, b, scale=Fraction(1), exact=True)

    def negated(self, x: Real) -> Real:
        """1 - x, for 0 and 1."""
        one = self.structural(np.ones((1,) * len(x.shape)))
        return self.graph.emit(Sub(), one, x, scale=Fraction(1), exact=True)

    def select(self, condition: Real, x: Real, y: Real) -> Real:
        """Return x where the condition (0 or 1) holds, else y."""
        a, b = self.common_scale([x, y])
        c, a, b = self.aligned_rank(condition, a, b)
        difference = self.graph.emit(Sub(), a, b, scale=a.scale)
        chosen = self.graph.emit(Mul(), c, difference, scale=a.scale)
        result = self.graph.emit(Add(), chosen, b, scale=a.scale, exact=x.exact and y.exact)
        return self.clamp(result, min(a.fact.lo, b.fact.lo), max(a.fact.hi, b.fact.hi))

    def matmul(self, x: Real, y: Real) -> Real:
        """Matrix product, both narrowed; the accumulator stays wide."""
        a, b = self.aligned_rank(self.narrow(x), self.narrow(y))
        return self.graph.emit(MatMul(), a, b, scale=a.scale * b.scale, exact=x.exact and y.exact)

    def matmul_exact(self, x: Real, y: Real) -> Real:
        """Matrix product without narrowing."""
        a, b = self.aligned_rank(x, y)
        return self.graph.emit(MatMul(), a, b, scale=a.scale * b.scale)

    def mul_paths(self, x: Real, paths: np.ndarray) -> Real:
        """Multiply by a matrix of -1, 0 and 1, exactly."""
        op = Constant(tuple(int(n) for n in paths.shape), -1, 1, None)
        return self.graph.emit(MatMul(), x, self.graph.declared(op, paths), scale=x.scale, exact=True)

    def conv2d(self, x: Real, w: Real, op: Conv2d) -> Real:
        """Convolution, both narrowed; the accumulator stays wide."""
        a, b = self.narrow(x), self.narrow(w)
        return self.graph.emit(op, a, b, scale=a.scale * b.scale, exact=x.exact and w.exact)

    def divide(self, x: Real, y: Real, bits: int) -> Real:
        """Divide by a positive y, with at least `bits` fractional bits of a quotient near the largest seen."""
        a, b = self.aligned_rank(x, y)
        room = max(0, (SAFE // (4 * max(1, a.fact.magnitude))).bit_length() - 1)

        def choose() -> tuple[int, ...]:
            seen_x, seen_y = self.graph.samples(a), self.graph.samples(b)
            largest = float((np.abs(seen_x) / np.maximum(seen_y, 1)).max())
            return (max(0, min(bits - int(np.frexp(largest)[1]), room)),)  # frexp: largest < 2^exponent

        shift = only(self.graph.take("shift", choose), 0, room, self.graph.label)
        wide = self.times_integer(Real(a.tensor, a.scale, a.fact), 2**shift)
        return self.graph.emit(Divide(), wide, b, scale=wide.scale / b.scale)


def positions(shape: Sequence[int]) -> np.ndarray:
    """Return the row-major position of each element of a tensor."""
    return np.arange(prod(shape), dtype=np.int64).reshape(tuple(shape))
