"""Operators that only move elements: each is an index into its operands laid end to end.

One description serves three ends: constants are folded with it, integer graphs wire with it, and float graphs gather
with it where ONNX has no operator of the same meaning.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from balance_core.converters.exact import check_size, positions
from balance_core.integer.facts import Inadmissible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from balance_core.converters.tflite.reader import Operator

    Rule = Callable[["Moving"], list[np.ndarray]]

FILL = -1
"""Stands in an index for the padding value."""
MOVEMENTS: dict[str, Rule] = {}


@dataclass(frozen=True)
class Moving:
    """An operator that moves elements, with what is known of its operands."""

    operator: Operator
    shapes: Sequence[tuple[int, ...]]
    constants: Sequence[np.ndarray | None]
    output_shapes: Sequence[tuple[int, ...]]

    def constant(self, place: int) -> list[int]:
        """Return an operand that must be constant integers, flat."""
        values = self.constants[place] if place < len(self.constants) else None
        if values is None or values.dtype.kind not in "iu" or values.size > 2**20:
            raise Inadmissible(f"operand {place} is not constant")
        return [int(v) for v in values.reshape(-1)]

    def axis(self, number: int, rank: int) -> int:
        """Return an axis counted from the front."""
        if not -rank <= number < rank:
            raise Inadmissible(f"axis {number} is none of {rank}")
        return number % rank

    @property
    def data(self) -> tuple[int, ...]:
        """Return which operands are data, in the order of the pool."""
        kind = self.operator.kind
        if kind in {"CONCATENATION", "PACK"}:
            return tuple(range(len(self.shapes)))
        return (1,) if kind == "SPLIT" else (0,)

    @property
    def source(self) -> np.ndarray:
        """The positions of the one operand that is data."""
        return positions(self.shapes[self.data[0]])


def movement(*kinds: str) -> Callable[[Rule], Rule]:
    """Register the rule of some operators."""

    def register(rule: Rule) -> Rule:
        MOVEMENTS.update(dict.fromkeys(kinds, rule))
        return rule

    return register


@contextmanager
def fitting() -> Iterator[None]:
    """Turn what Python and numpy say of operands that do not fit their operator into Inadmissible.

    Files are written by anybody: an operator may lack operands, or have some of another rank, size or type.
    """
    try:
        yield
    except Inadmissible:
        raise
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise Inadmissible(f"its operands do not fit the operator ({reason})") from error


def indices(moving: Moving) -> list[np.ndarray]:
    """Return the index of each result; raises Inadmissible when the operands do not fit."""
    with fitting():
        results = MOVEMENTS[moving.operator.kind](moving)
    for result in results:
        check_size(result.shape)
    return results


@movement("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def reshape(moving: Moving) -> list[np.ndarray]:
    """The elements in their order; a constant shape must be the declared one, up to a -1."""
    target = moving.output_shapes[0]
    if moving.operator.kind == "RESHAPE" and len(moving.constants) > 1 and moving.constants[1] is not None:
        asked = moving.constant(1)
        fits = len(asked) == len(target) and all(n in {-1, m} for n, m in zip(asked, target, strict=True))
        if not fits and (asked != [0] or target):  # [0] is an older way to write a scalar
            raise Inadmissible(f"it reshapes to {asked} and declares {target}")
    return [moving.source.reshape(target)]


@movement("TRANSPOSE")
def transpose(moving: Moving) -> list[np.ndarray]:
    """Permuted axes."""
    return [moving.source.transpose(moving.constant(1))]


@movement("CONCATENATION", "PACK")
def concatenation(moving: Moving) -> list[np.ndarray]:
    """Operands side by side, along an axis that is there or a new one."""
    start, parts = 0, []
    rank = len(moving.shapes[0]) + (moving.operator.kind == "PACK")
    axis = moving.axis(moving.operator.options["Axis"], rank)
    for shape in moving.shapes:
        part = positions(shape) + start
        parts.append(np.expand_dims(part, axis) if moving.operator.kind == "PACK" else part)
        start += part.size
    return [np.concatenate(parts, axis=axis)]


@movement("UNPACK")
def unpack(moving: Moving) -> list[np.ndarray]:
    """The slices along an axis, without it."""
    axis = moving.axis(moving.operator.options["Axis"], len(moving.shapes[0]))
    return list(np.moveaxis(moving.source, axis, 0))


@movement("SPLIT", "SPLIT_V")
def split(moving: Moving) -> list[np.ndarray]:
    """Equal parts, or parts of given sizes (one of them -1)."""
    source, count = moving.source, len(moving.output_shapes)
    if moving.operator.kind == "SPLIT":
        (axis,) = moving.constant(0)
        return np.split(source, count, axis=moving.axis(axis, source.ndim))
    sizes, (number,) = moving.constant(1), moving.constant(2)
    axis = moving.axis(number, source.ndim)
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = source.shape[axis] - sum(sizes) - 1
    if min(sizes) < 1 or sum(sizes) != source.shape[axis] or len(sizes) != count:
        raise Inadmissible(f"parts of {sizes} do not fill an axis of {source.shape[axis]}")
    return np.split(source, np.cumsum(sizes)[:-1].tolist(), axis=axis)


@movement("SLICE")
def slice_(moving: Moving) -> list[np.ndarray]:
    """A block, by first places and sizes; a size of -1 goes to the end."""
    parts = []
    for n, begin, size in zip(moving.shapes[0], moving.constant(1), moving.constant(2), strict=True):
        end = n if size == -1 else begin + size
        if not 0 <= begin < end <= n:
            raise Inadmissible(f"places {begin} to {end} are not inside an axis of {n}")
        parts.append(slice(begin, end))
    return [moving.source[tuple(parts)]]


@movement("STRIDED_SLICE")
def strided_slice(moving: Moving) -> list[np.ndarray]:
    """Python's slices, with masks for ends left open, for new axes and for axes that a single place removes."""
    options = moving.operator.options
    if options["Offset"]:
        raise Inadmissible("ends that count from the beginning are not taken")
    begins, ends, steps = (moving.constant(place) for place in (1, 2, 3))
    parts: list[slice | int | ellipsis | None] = []  # noqa: F821 - the type of ... has no name to import before types
    for i, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        bit = 1 << i
        if options["EllipsisMask"] & bit:
            parts.append(...)
        elif options["NewAxisMask"] & bit:
            parts.append(None)
        elif options["ShrinkAxisMask"] & bit:
            parts.append(begin)
        else:
            parts.append(
                slice(None if options["BeginMask"] & bit else begin, None if options["EndMask"] & bit else end, step)
            )
    return [np.asarray(moving.source[tuple(parts)])]


@movement("GATHER")
def gather(moving: Moving) -> list[np.ndarray]:
    """The slices at constant places along an axis."""
    if moving.operator.options["BatchDims"]:
        raise Inadmissible("batch_dims is not taken")
    chosen = moving.constants[1]
    if chosen is None or chosen.dtype.kind not in "iu":
        raise Inadmissible("the places are not constant")
    axis = moving.axis(moving.operator.options["Axis"], len(moving.shapes[0]))
    if chosen.size and (chosen.min() < 0 or chosen.max() >= moving.shapes[0][axis]):
        raise Inadmissible("a place is outside the operand")
    shape = moving.shapes[0]
    check_size((*shape[:axis], max(chosen.size, 1), *shape[axis + 1 :]))
    return [np.take(moving.source, chosen.astype(np.int64), axis=axis)]


@movement("TILE")
def tile(moving: Moving) -> list[np.ndarray]:
    """Repetitions along each axis."""
    times = moving.constant(1)
    check_size([n * t for n, t in zip(moving.shapes[0], times, strict=True)])
    return [np.tile(moving.source, times)]


@movement("BROADCAST_TO")
def broadcast_to(moving: Moving) -> list[np.ndarray]:
    """Axes of 1 repeated up to the declared shape."""
    return [np.broadcast_to(moving.source, moving.output_shapes[0])]


@movement("PAD", "PADV2")
def pad(moving: Moving) -> list[np.ndarray]:
    """The operand surrounded by one value."""
    return [np.pad(moving.source, _widths(moving), constant_values=FILL)]


@movement("MIRROR_PAD")
def mirror_pad(moving: Moving) -> list[np.ndarray]:
    """The operand surrounded by its mirror image, without (0) or with (1) its border."""
    mode = "reflect" if moving.operator.options["Mode"] == 0 else "symmetric"
    widths = _widths(moving)
    room = 0 if mode == "symmetric" else 1
    if any(max(pair) > n - room for pair, n in zip(widths, moving.shapes[0], strict=True)):
        raise Inadmissible("the mirror image is smaller than the padding")
    return [np.pad(moving.source, widths, mode=mode)]  # type: ignore[call-overload]  # numpy's stubs want a literal


def _widths(moving: Moving) -> list[tuple[int, int]]:
    numbers = moving.constant(1)
    widths = list(zip(numbers[::2], numbers[1::2], strict=True))
    if len(widths) != len(moving.shapes[0]) or any(n < 0 for n in numbers):
        raise Inadmissible(f"paddings {widths} do not fit the shape {moving.shapes[0]}")
    check_size([n + sum(pair) for n, pair in zip(moving.shapes[0], widths, strict=True)])
    return widths


@movement("REVERSE_V2")
def reverse(moving: Moving) -> list[np.ndarray]:
    """Axes in reverse order."""
    axes = [moving.axis(number, len(moving.shapes[0])) for number in moving.constant(1)]
    return [np.flip(moving.source, tuple(axes))]


@movement("SPACE_TO_DEPTH", "DEPTH_TO_SPACE")
def space_and_depth(moving: Moving) -> list[np.ndarray]:
    """Blocks of pixels as channels, and back."""
    block, (n, h, w, c) = moving.operator.options["BlockSize"], moving.shapes[0]
    if not 1 <= block <= max(h, w, c):
        raise Inadmissible(f"a block of {block} is none")
    if moving.operator.kind == "SPACE_TO_DEPTH":
        split_up = moving.source.reshape(n, h // block, block, w // block, block, c)
        return [split_up.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // block, w // block, block * block * c)]
    depth = c // block**2
    split_up = moving.source.reshape(n, h, w, block, block, depth)
    return [split_up.transpose(0, 1, 3, 2, 4, 5).reshape(n, h * block, w * block, depth)]


@movement("SPACE_TO_BATCH_ND")
def space_to_batch(moving: Moving) -> list[np.ndarray]:
    """Every place of a block becomes a batch of its own, after padding."""
    blocks, pads = moving.constant(1), moving.constant(2)
    m, shape = len(blocks), moving.shapes[0]
    widths = [(0, 0), *zip(pads[::2], pads[1::2], strict=True)] + [(0, 0)] * (len(shape) - m - 1)
    if min(blocks) < 1 or min(pads) < 0 or max(pads) > 2**16:
        raise Inadmissible("its blocks and paddings are none")
    check_size([n + sum(pair) for n, pair in zip(shape, widths, strict=True)])
    padded = np.pad(moving.source, widths, constant_values=FILL)
    inner: list[int] = []
    for n, block in zip(padded.shape[1 : m + 1], blocks, strict=True):
        inner += [n // block, block]
    cut = padded.reshape(shape[0], *inner, *shape[m + 1 :])
    order = [*range(2, 2 * m + 1, 2), 0, *range(1, 2 * m + 1, 2), *range(2 * m + 1, cut.ndim)]
    sizes = [n // block for n, block in zip(padded.shape[1 : m + 1], blocks, strict=True)]
    return [cut.transpose(order).reshape(shape[0] * prod(blocks), *sizes, *shape[m + 1 :])]


@movement("BATCH_TO_SPACE_ND")
def batch_to_space(moving: Moving) -> list[np.ndarray]:
    """Batches interleaved into blocks again, then cropped."""
    blocks, crops = moving.constant(1), moving.constant(2)
    m, shape = len(blocks), moving.shapes[0]
    if min(blocks) < 1 or min(crops) < 0:
        raise Inadmissible("its blocks and crops are none")
    batch = shape[0] // prod(blocks)
    cut = moving.source.reshape(*blocks, batch, *shape[1:])
    order = [m]
    for i in range(m):
        order += [m + 1 + i, i]
    whole = cut.transpose([*order, *range(2 * m + 1, cut.ndim)])
    sizes = [n * block for n, block in zip(shape[1 : m + 1], blocks, strict=True)]
    whole = whole.reshape(batch, *sizes, *shape[m + 1 :])
    parts = [slice(a, n - b) for n, a, b in zip(sizes, crops[::2], crops[1::2], strict=True)]
    return [whole[(slice(None), *parts)]]


@movement("RESIZE_NEAREST_NEIGHBOR")
def resize_nearest(moving: Moving) -> list[np.ndarray]:
    """The pixel nearest to each output pixel, by the rule that the options choose."""
    _, h, w, _ = moving.shapes[0]
    height, width = moving.constant(1)
    check_size((moving.shapes[0][0], height, width, moving.shapes[0][3]))
    options = moving.operator.options
    rows, columns = (
        _nearest(n, size, corners=options["AlignCorners"], half=options["HalfPixelCenters"])
        for n, size in ((h, height), (w, width))
    )
    return [moving.source[:, rows][:, :, columns]]


def _nearest(n: int, size: int, *, corners: bool, half: bool) -> list[int]:
    """Return for each output pixel the input pixel; computed in rationals, where the kernels use float32."""
    scale = Fraction(n - 1, size - 1) if corners and size > 1 else Fraction(n, size)
    offset = Fraction(1, 2) if half else Fraction(0)
    found = []
    for i in range(size):
        place = (i + offset) * scale
        nearest = (2 * place + 1) // 2 if corners else place // 1
        found.append(min(max(int(nearest), 0), n - 1))
    return found
