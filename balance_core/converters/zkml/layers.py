"""The layers of the zkml format, each with its exact integer meaning.

All numbers are integers at the scale s of the file. Products stand at s^2 and come back by rounding half up,
floor((2x + s) / (2s)); biases are added after that.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from balance_core.converters.exact import ExactGraph, Tensor, check_size, positions, same_padding, windows
from balance_core.converters.zkml.functions import exponential, function_table
from balance_core.integer.facts import Inadmissible
from balance_core.integer.operations import Conv2d, Divide, MatMul

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from balance_core.converters.zkml.reader import Layer, ZkmlModel

    Conversion = Callable[["Context", list[Tensor]], list[Tensor]]

LAYERS: dict[str, Conversion] = {}
"""The layers that are taken, by the names that they have in files."""


@dataclass(frozen=True)
class Context:
    """One layer with the graph that it is added to."""

    graph: ExactGraph
    model: ZkmlModel
    layer: Layer

    def params(self, count: int) -> tuple[int, ...]:
        """Return the parameters; raises Inadmissible for another number of them."""
        if len(self.layer.params) != count:
            raise Inadmissible(f"it takes {count} parameters and has {len(self.layer.params)}")
        return self.layer.params

    def axis(self, number: int, rank: int) -> int:
        """Return an axis counted from the front."""
        if not -rank <= number < rank:
            raise Inadmissible(f"axis {number} is none of {rank}")
        return number % rank

    def rescale(self, x: Tensor) -> Tensor:
        """Bring a product back to the scale of the file."""
        return self.graph.rescale(x, self.model.scale)

    def in_range(self, x: Tensor) -> Tensor:
        """Saturate to the k bits of the file, as far as a table reaches."""
        return self.graph.clamp(x, self.model.least, self.model.most)

    def activate(self, x: Tensor, code: int) -> Tensor:
        """Apply a fused activation: 0 none, 1 ReLU, 3 ReLU6."""
        if code == 0:
            return x
        if code == 1:
            return self.graph.clamp(x, 0, max(x.fact.hi, 0))
        if code == 3:
            return self.graph.clamp(x, 0, 6 * self.model.scale)
        raise Inadmissible(f"{code} is no activation of the format")


def layer(kind: str, count: int | None = None) -> Callable[[Conversion], Conversion]:
    """Register the conversion of a kind of layer that reads `count` tensors (None: it counts them itself)."""

    def register(conversion: Conversion) -> Conversion:
        def checked(context: Context, given: list[Tensor]) -> list[Tensor]:
            if count is not None and len(given) != count:
                raise Inadmissible(f"it takes {count} tensors and reads {len(given)}")
            return conversion(context, given)

        LAYERS[kind] = checked
        return conversion

    return register


def _image(x: Tensor) -> tuple[int, int, int, int]:
    if len(x.shape) != 4:
        raise Inadmissible(f"a tensor of shape {x.shape} is no batch of images")
    n, h, w, c = x.shape
    return n, h, w, c


@layer("Conv2D")
def convolution(context: Context, given: list[Tensor]) -> list[Tensor]:
    """Convolution: images N H W C, kernels O h w C, or 1 h w C where each channel has its own."""
    depthwise, padding, activation, *strides = context.params(5)
    if depthwise not in {0, 1} or padding not in {0, 1} or len(given) not in {2, 3}:
        raise Inadmissible("its parameters are none of the format")
    graph = context.graph
    _, height, width, channels = _image(given[0])
    shape = given[1].shape
    if len(shape) != 4 or (depthwise and (shape[0], shape[3]) != (1, channels)):
        raise Inadmissible(f"kernels of shape {shape} do not fit {channels} channels")
    pads = (0, 0, 0, 0) if padding else same_padding((height, width), shape[1:3], strides)
    operation = Conv2d(tuple(strides), pads, (1, 1), channels if depthwise else 1)
    images = graph.transpose(given[0], (0, 3, 1, 2))
    kernels = graph.transpose(given[1], (3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    result = context.rescale(graph.emit(operation, images, kernels))
    if len(given) == 3:
        result = graph.add(result, graph.reshape(given[2], (1, result.shape[1], 1, 1)))
    return [graph.transpose(context.activate(result, activation), (0, 2, 3, 1))]


@layer("FullyConnected")
def fully_connected(context: Context, given: list[Tensor]) -> list[Tensor]:
    """Rows times the transposed weights [out, in], then the bias."""
    (activation,) = context.params(1)
    if len(given) not in {2, 3} or len(given[1].shape) != 2 or not given[0].shape:
        raise Inadmissible("its tensors are none of a dense layer")
    graph, (outputs, inputs) = context.graph, given[1].shape
    if given[0].fact.size % inputs:
        raise Inadmissible(f"rows of {inputs} do not fill the shape {given[0].shape}")
    rows = graph.reshape(given[0], (given[0].fact.size // inputs, inputs))
    result = context.rescale(graph.emit(MatMul(), rows, graph.transpose(given[1], (1, 0))))
    if len(given) == 3:
        result = graph.add(result, graph.reshape(given[2], (1, outputs)))
    result = context.activate(result, activation)
    declared = context.layer.output_shapes[0]
    return [graph.reshape(result, declared) if prod(declared) == result.fact.size else result]


@layer("BatchMatMul", 2)
def batch_matmul(context: Context, given: list[Tensor]) -> list[Tensor]:
    """Matrix products, the second one's matrices transposed where asked."""
    first, second = context.params(2)
    if first or second not in {0, 1} or any(len(x.shape) != 3 for x in given):
        raise Inadmissible("only products of three axes with the first factor as it stands are in the format")
    x, y = given
    return [context.rescale(context.graph.emit(MatMul(), x, context.graph.transpose(y, (0, 2, 1)) if second else y))]


def _pool(context: Context, x: Tensor) -> tuple[Tensor, int]:
    """Return the windows of images as a first axis, then N, oh, ow, C; and how many places a window has."""
    kernel_h, kernel_w, stride_h, stride_w = context.params(4)
    n, h, w, c = _image(x)
    index, (rows, columns) = windows((h, w), (kernel_h, kernel_w), (stride_h, stride_w), (0, 0, 0, 0))
    count = kernel_h * kernel_w
    check_size((count, n, rows, columns, c))
    pixels = positions((n, h * w, c))[:, index, :]  # n, window, pixel, c
    wired = context.graph.wire(pixels.transpose(1, 0, 2, 3).reshape(count, n, rows, columns, c), x)
    return wired, count


def _without_first(context: Context, x: Tensor) -> Tensor:
    return context.graph.reshape(x, x.shape[1:])


@layer("AveragePool2D", 1)
def average_pool(context: Context, given: list[Tensor]) -> list[Tensor]:
    """The mean of each whole window, rounded half up."""
    wired, count = _pool(context, given[0])
    return [_without_first(context, context.graph.rescale(context.graph.sum(wired, [0]), count))]


@layer("MaxPool2D", 1)
def max_pool(context: Context, given: list[Tensor]) -> list[Tensor]:
    """The largest of each whole window."""
    wired, _ = _pool(context, given[0])
    return [_without_first(context, context.graph.max(wired, [0]))]


@layer("Mean")
def mean(context: Context, given: list[Tensor]) -> list[Tensor]:
    """The mean over the axes given and the batch of one, rounded half up; further tensors are ignored."""
    x = given[0]
    axes = {context.axis(number, len(x.shape)) for number in context.layer.params}
    kept = [axis for axis in range(1, len(x.shape)) if axis not in axes]
    if len(kept) != 1 or x.shape[0] != 1:
        raise Inadmissible("the format takes means of one sample over all axes but one")
    axes = set(range(len(x.shape))) - set(kept)
    result = context.graph.rescale(context.graph.sum(x, axes), x.fact.size // x.shape[kept[0]])
    return [context.graph.reshape(result, context.layer.output_shapes[0])]


@layer("Add", 2)
def add(context: Context, given: list[Tensor]) -> list[Tensor]:
    """The sum, with a fused ReLU where asked."""
    code = context.layer.params[0] if context.layer.params else 0
    return [context.activate(context.graph.add(*given), code)]


@layer("Sub", 2)
def sub(context: Context, given: list[Tensor]) -> list[Tensor]:
    """The difference."""
    return [context.graph.sub(*given)]


@layer("Mul", 2)
def mul(context: Context, given: list[Tensor]) -> list[Tensor]:
    """The product over s."""
    return [context.rescale(context.graph.mul(*given))]


@layer("Square", 1)
def square(context: Context, given: list[Tensor]) -> list[Tensor]:
    """The square over s."""
    return [context.rescale(context.graph.mul(given[0], given[0]))]


@layer("SquaredDifference", 2)
def squared_difference(context: Context, given: list[Tensor]) -> list[Tensor]:
    """The square of the difference over s."""
    difference = context.graph.sub(*given)
    return [context.rescale(context.graph.mul(difference, difference))]


@layer("Pow", 1)
def power(context: Context, given: list[Tensor]) -> list[Tensor]:
    """The cube over s^2, halves away from zero; no other power is in the format."""
    if context.params(1) != (3,):
        raise Inadmissible("the format knows the third power only")
    x = context.in_range(given[0])
    cube = context.graph.mul(context.graph.mul(x, x), x)
    return [context.graph.rescale_away(cube, context.model.scale**2)]


def _function(name: str) -> Conversion:
    def conversion(context: Context, given: list[Tensor]) -> list[Tensor]:
        first, entries = function_table(name, context.model.scale, context.model.least, context.model.most)
        x = context.graph.clamp(given[0], first, first + len(entries) - 1)
        return [context.graph.table(x, first, entries)]

    return conversion


for _name in ("Logistic", "Rsqrt", "Sqrt", "Tanh"):
    layer(_name, 1)(_function(_name))


def _mask(context: Context, shape: Sequence[int]) -> np.ndarray:
    """Read a mask out of the parameters: rank, shape, then 0 and 1; broadcast to the operand's shape."""
    rank, *rest = context.layer.params
    sizes, marks = rest[:rank] if 0 <= rank <= len(rest) else [], rest[max(rank, 0) :]
    if not 0 <= rank <= len(shape) or prod(sizes) != len(marks) or not set(marks) <= {0, 1}:
        raise Inadmissible("its parameters are no mask")
    try:
        return np.broadcast_to(np.array(marks, dtype=np.int64).reshape(sizes), tuple(shape))
    except ValueError:
        raise Inadmissible(f"a mask of shape {tuple(sizes)} does not broadcast to {tuple(shape)}") from None


@layer("MaskNegInf", 1)
def mask_negative_infinity(context: Context, given: list[Tensor]) -> list[Tensor]:
    """The least integer of the format where the mask holds."""
    x = given[0]
    mask = _mask(context, x.shape) if context.layer.params else np.zeros(x.shape, dtype=np.int64)
    index = np.where(mask == 1, x.fact.size, positions(x.shape))
    return [context.graph.wire(index, x, context.graph.constant(np.array([context.model.least])))]


@layer("Softmax", 1)
def softmax(context: Context, given: list[Tensor]) -> list[Tensor]:
    """e_i / round(sum of e / s), with e the exponential of x - r at scale s^2; 0 where a mask holds.

    r is meant to be the largest x. The format's own engine takes the largest of every p-th one that is not masked,
    p = floor(num_cols / 3), which changes no more than roundings; its integers are what is wanted here.
    """
    graph, x, last = context.graph, given[0], len(given[0].shape) - 1
    if last < 1:
        raise Inadmissible(f"a tensor of shape {x.shape} has no rows")
    mask = _mask(context, x.shape) if context.layer.params else np.zeros(x.shape, dtype=np.int64)
    if (mask.min(axis=last) == 1).any():
        raise Inadmissible("a row is masked as a whole")
    first, entries = exponential(context.model.scale)
    x = context.in_range(x)
    reference = graph.max(graph.wire(_compared(mask, context.model.columns // 3), x), [last])
    below = graph.clamp(graph.sub(x, reference), first, first + len(entries) - 1)
    exponentials = graph.table(below, first, entries)
    if mask.any():
        hidden = np.where(mask == 1, x.fact.size, positions(x.shape))
        exponentials = graph.wire(hidden, exponentials, graph.constant(np.array([0])))
    total = context.rescale(graph.sum(exponentials, [last]))
    # r itself contributes s^2, so the sum over s is never below s, and no quotient is above s + 1.
    total = graph.clamp(total, context.model.scale, max(total.fact.hi, context.model.scale))
    return [graph.clamp(graph.emit(Divide(), exponentials, total), 0, context.model.scale + 1)]


def _compared(mask: np.ndarray, step: int) -> np.ndarray:
    """Return the places of every step-th element of each row that is not masked, the first one repeated to fill."""
    places = positions(mask.shape).reshape(-1, mask.shape[-1])
    rows = [row[hide == 0][::step] for row, hide in zip(places, mask.reshape(places.shape), strict=True)]
    width = max(map(len, rows))
    filled = [np.concatenate([row, np.repeat(row[:1], width - len(row))]) for row in rows]
    return np.array(filled, dtype=np.int64).reshape(*mask.shape[:-1], width)


@layer("Pad", 1)
def pad(context: Context, given: list[Tensor]) -> list[Tensor]:
    """Zeros before and after each axis."""
    numbers = context.params(2 * len(given[0].shape))
    return [context.graph.pad(given[0], list(zip(numbers[::2], numbers[1::2], strict=True)), 0)]


@layer("Reshape")
def reshape(context: Context, given: list[Tensor]) -> list[Tensor]:
    """The elements in their order; the second tensor, a shape, says what the declared one says."""
    return [context.graph.reshape(given[0], context.layer.output_shapes[0])]


@layer("Noop", 1)
def noop(context: Context, given: list[Tensor]) -> list[Tensor]:
    """The tensor itself."""
    if context.layer.params not in {(), (0,)}:
        raise Inadmissible("it names a tensor that it does not read")
    return given


@layer("Transpose")
def transpose(context: Context, given: list[Tensor]) -> list[Tensor]:
    """Permute the axes: the parameters repeat the shape and give the order."""
    rank = len(given[0].shape)
    numbers = context.params(2 * rank)
    if numbers[:rank] != given[0].shape:
        raise Inadmissible(f"its parameters are for the shape {numbers[:rank]}")
    return [context.graph.transpose(given[0], numbers[rank:])]


@layer("Permute", 1)
def permute(context: Context, given: list[Tensor]) -> list[Tensor]:
    """Permute the axes by the parameters."""
    return [context.graph.transpose(given[0], context.params(len(given[0].shape)))]


@layer("Broadcast", 1)
def broadcast(context: Context, given: list[Tensor]) -> list[Tensor]:
    """Repeat axes of 1 up to the declared shape."""
    return [context.graph.broadcast(given[0], context.layer.output_shapes[0])]


@layer("Concatenation")
def concatenation(context: Context, given: list[Tensor]) -> list[Tensor]:
    """Tensors side by side along an axis."""
    (number,) = context.params(1)
    return [context.graph.concatenate(given, context.axis(number, len(given[0].shape)))]


@layer("Pack")
def pack(context: Context, given: list[Tensor]) -> list[Tensor]:
    """Tensors side by side along a new axis."""
    (number,) = context.params(1)
    axis = context.axis(number, len(given[0].shape) + 1)
    parts = [context.graph.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:])) for x in given]
    return [context.graph.concatenate(parts, axis)]


@layer("Split", 2)
def split(context: Context, given: list[Tensor]) -> list[Tensor]:
    """Equal parts along an axis; what is split is the second tensor."""
    number, count = context.params(2)
    x = given[1]
    axis = context.axis(number, len(x.shape))
    if not 1 <= count <= x.shape[axis] or x.shape[axis] % count:
        raise Inadmissible(f"{x.shape[axis]} does not split into {count} equal parts")
    return [context.graph.wire(part, x) for part in np.split(positions(x.shape), count, axis=axis)]


@layer("Slice")
def slice_(context: Context, given: list[Tensor]) -> list[Tensor]:
    """A block, by its first place and size on each axis; a size of -1 goes to the end."""
    x = given[0]
    rank = len(x.shape)
    numbers = context.params(2 * rank)
    parts = []
    for n, begin, size in zip(x.shape, numbers[:rank], numbers[rank:], strict=True):
        end = n if size == -1 else begin + size
        if not 0 <= begin < end <= n:
            raise Inadmissible(f"places {begin} to {end} are not inside an axis of {n}")
        parts.append(slice(begin, end))
    return [context.graph.wire(positions(x.shape)[tuple(parts)], x)]


@layer("ResizeNearestNeighbor")
def resize(context: Context, given: list[Tensor]) -> list[Tensor]:
    """The pixel at floor(place * input size / output size); the format ignores any other rule, so none is taken."""
    if any(context.layer.params):
        raise Inadmissible("align_corners and half_pixel_centers are not what the format computes")
    x, target = given[0], context.layer.output_shapes[0]
    n, h, w, c = _image(x)
    if len(target) != 4 or (target[0], target[3]) != (n, c):
        raise Inadmissible(f"{x.shape} is no image to be resized to {target}")
    check_size(target)
    ratios = Fraction(h, target[1]), Fraction(w, target[2])
    rows, columns = ([int(i * ratio) for i in range(size)] for ratio, size in zip(ratios, target[1:3], strict=True))
    return [context.graph.wire(positions(x.shape)[:, rows][:, :, columns], x)]
