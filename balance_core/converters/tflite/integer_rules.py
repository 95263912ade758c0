"""The arithmetic of quantised operators, as TensorFlow Lite's reference kernels define it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from balance_core.converters.exact import ExactGraph, check_size, same_padding, windows
from balance_core.converters.exact import Tensor as Integers
from balance_core.converters.tflite.curves import CURVES, curve_table, exponentials
from balance_core.converters.tflite.multiplier import (
    bounded,
    multiplied,
    multiply,
    quantise_multiplier,
    round_half_away,
)
from balance_core.integer.facts import Inadmissible
from balance_core.integer.operations import ArgMax, Conv2d, Divide, MatMul

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from balance_core.converters.tflite.reader import Graph, Operator, Tensor

    Conversion = Callable[["Rule"], list[Integers]]

RULES: dict[str, Conversion] = {}
ENDS = {"int8": (-128, 127), "uint8": (0, 255)}
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
"""The schema's codes of fused activations."""


@dataclass(frozen=True)
class Rule:
    """One operator, the graph that it is added to, and what is known of its operands."""

    graph: ExactGraph
    file: Graph
    operator: Operator
    constants: Mapping[int, np.ndarray]
    values: Mapping[int, Integers]

    def tensor(self, place: int) -> Tensor:
        """Return what the file says of an operand."""
        if place >= len(self.operator.inputs) or self.operator.inputs[place] < 0:
            raise Inadmissible(f"operand {place} is left out")
        return self.file.tensors[self.operator.inputs[place]]

    def quantised(self, place: int) -> Tensor:
        """Return what the file says of an operand of quantised bytes, all of one scale."""
        tensor = self.tensor(place)
        if tensor.dtype not in ENDS or tensor.scales.size != 1:
            raise Inadmissible(f"operand {place} is no tensor of quantised bytes")
        return tensor

    @property
    def target(self) -> Tensor:
        """What the file says of the first result, which must be quantised bytes."""
        tensor = self.file.tensors[self.operator.outputs[0]]
        if tensor.dtype not in ENDS or tensor.scales.size != 1:
            raise Inadmissible("its result is no tensor of quantised bytes")
        return tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The declared shape of the first result."""
        return self.file.tensors[self.operator.outputs[0]].shape

    def is_constant(self, place: int) -> bool:
        """Whether an operand is constant."""
        return self.operator.inputs[place] in self.constants

    def constant(self, place: int) -> np.ndarray:
        """Return a constant operand."""
        if place >= len(self.operator.inputs) or self.operator.inputs[place] not in self.constants:
            raise Inadmissible(f"operand {place} is not constant")
        return self.constants[self.operator.inputs[place]]

    def operand(self, place: int) -> Integers:
        """Return an operand as integers of the graph, a constant as a weight of its type's range."""
        tensor = self.tensor(place)
        if tensor.place in self.values:
            return self.values[tensor.place]
        array = self.constant(place)
        if array.dtype.kind == "f":
            raise Inadmissible(f"operand {place} is floating-point in a model of quantised integers")
        return self.graph.weight(array.astype(np.int64), *ENDS.get(tensor.dtype, (None, None)))

    def centred(self, place: int) -> Integers:
        """Return an operand of quantised bytes less its zero point."""
        return self.graph.shift(self.operand(place), -self.quantised(place).zero_point)

    def axes(self, place: int, rank: int) -> list[int]:
        """Return constant axes, counted from the front."""
        numbers = [int(n) for n in self.constant(place).reshape(-1)]
        if any(not -rank <= n < rank for n in numbers):
            raise Inadmissible(f"axes {numbers} are none of {rank}")
        return sorted({n % rank for n in numbers})

    def ends(self) -> tuple[int, int]:
        """Return the ends of the result's type, narrowed by the fused activation."""
        tensor = self.target
        low, high = ENDS[tensor.dtype]
        code = self.operator.options.get("FusedActivationFunction", NONE)
        bounds = {NONE: (None, None), RELU: (0.0, None), RELU_N1_TO_1: (-1.0, 1.0), RELU6: (0.0, 6.0)}
        if code not in bounds:
            raise Inadmissible(f"the fused activation {code} is not taken")
        least, most = (
            None if bound is None else tensor.zero_point + round_half_away(bound / tensor.scale)
            for bound in bounds[code]
        )
        return max(low, low if least is None else least), min(high, high if most is None else most)

    def finish(self, centred: Integers) -> Integers:
        """Add the result's zero point and saturate to its type and activation."""
        low, high = self.ends()
        if low > high:
            raise Inadmissible("its activation leaves no value")
        return self.graph.clamp(self.graph.shift(centred, self.target.zero_point), low, high)

    def requantise(self, accumulator: Integers, factors: Sequence[float], axis: int = 0) -> Integers:
        """Bring an accumulator to the result's scale."""
        negatives = self.ends()[0] < self.target.zero_point
        pairs = list(map(quantise_multiplier, factors))
        return self.finish(multiply(self.graph, accumulator, pairs, axis, negatives=negatives))


def rule(*kinds: str) -> Callable[[Conversion], Conversion]:
    """Register the conversion of some operators."""

    def register(conversion: Conversion) -> Conversion:
        RULES.update(dict.fromkeys(kinds, conversion))
        return conversion

    return register


def _weights(r: Rule, place: int, outputs: int, axis: int) -> tuple[np.ndarray, list[float]]:
    """Return constant weights less their zero points, and their scales: one, or one for each output channel."""
    tensor = r.tensor(place)
    if tensor.dtype not in ENDS or not tensor.scales.size or (tensor.scales.size > 1 and tensor.axis != axis):
        raise Inadmissible("its weights are no quantised bytes with one scale for each output")
    shape = [1] * len(tensor.shape)
    if tensor.scales.size > 1:
        shape[axis] = outputs
    integers = r.constant(place).astype(np.int64) - tensor.zero_points.reshape(shape)
    return integers, [float(scale) for scale in tensor.scales]


def _biased(r: Rule, accumulator: Integers, weights: np.ndarray, shape: Sequence[int]) -> Integers:
    """Add the bias, and bound the sum by the weights: their output channels are the first axis of `weights`."""
    reach = np.abs(weights.reshape(len(weights), -1)).sum(axis=1) * 255
    if len(r.operator.inputs) > 2 and r.operator.inputs[2] >= 0:
        bias = r.constant(2).astype(np.int64)
        if r.tensor(2).dtype != "int32" or bias.size != prod(shape):
            raise Inadmissible("its bias does not fit")
        accumulator = r.graph.add(accumulator, r.graph.weight(bias.reshape(shape)))
        reach = reach + np.abs(bias.reshape(-1))
    return bounded(r.graph, accumulator, int(reach.max()))


def _range(r: Rule, place: int) -> tuple[int, int]:
    """Return the declared range of weights less their zero points."""
    low, high = ENDS[r.tensor(place).dtype]
    points = r.tensor(place).zero_points
    return low - int(points.max()), high - int(points.min())


@rule("CONV_2D", "DEPTHWISE_CONV_2D")
def convolution(r: Rule) -> list[Integers]:
    """Sum of (x - zero) * (w - zero) plus bias, rescaled for each output channel."""
    options, depthwise = r.operator.options, r.operator.kind == "DEPTHWISE_CONV_2D"
    x, tensor = r.centred(0), r.quantised(0)
    shape = r.tensor(1).shape
    if len(tensor.shape) != 4 or len(shape) != 4 or (depthwise and shape[0] != 1):
        raise Inadmissible(f"kernels of shape {shape} do not fit images of shape {tensor.shape}")
    outputs = shape[3] if depthwise else shape[0]
    weights, scales = _weights(r, 1, outputs, 3 if depthwise else 0)
    groups = tensor.shape[3] if depthwise else tensor.shape[3] // shape[3]
    if groups < 1 or outputs % groups:
        raise Inadmissible(f"kernels of shape {shape} do not fit images of shape {tensor.shape}")
    strides = options["StrideH"], options["StrideW"]
    dilations = options["DilationHFactor"], options["DilationWFactor"]
    if min(*strides, *dilations) < 1:
        raise Inadmissible("its strides and dilations are not positive")
    reach = [(n - 1) * d + 1 for n, d in zip(shape[1:3], dilations, strict=True)]
    pads = same_padding(tensor.shape[1:3], reach, strides) if options["Padding"] == 0 else (0, 0, 0, 0)
    kernels = weights.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    images = r.graph.transpose(x, (0, 3, 1, 2))
    kernel = r.graph.weight(kernels, *_range(r, 1))
    total = r.graph.emit(Conv2d(strides, pads, dilations, groups), images, kernel)
    total = _biased(r, total, kernels, (1, outputs, 1, 1))
    factors = [tensor.scale * scale / r.target.scale for scale in scales]
    return [r.graph.transpose(r.requantise(total, factors, 1), (0, 2, 3, 1))]


@rule("FULLY_CONNECTED")
def fully_connected(r: Rule) -> list[Integers]:
    """Rows times transposed weights plus bias, rescaled for each output."""
    shape, tensor = r.tensor(1).shape, r.quantised(0)
    if r.operator.options["WeightsFormat"] or len(shape) != 2:
        raise Inadmissible("its weights are laid out in a way of their own")
    outputs, inputs = shape
    x = r.centred(0)
    if x.fact.size % inputs:
        raise Inadmissible(f"rows of {inputs} do not fill the shape {x.shape}")
    weights, scales = _weights(r, 1, outputs, 0)
    rows = r.graph.reshape(x, (x.fact.size // inputs, inputs))
    total = r.graph.emit(MatMul(), rows, r.graph.weight(weights.T, *_range(r, 1)))
    total = _biased(r, total, weights, (1, outputs))
    factors = [tensor.scale * scale / r.target.scale for scale in scales]
    return [r.graph.reshape(r.requantise(total, factors, 1), r.shape)]


@rule("BATCH_MATMUL")
def batch_matmul(r: Rule) -> list[Integers]:
    """Matrix products of centred operands, rescaled."""
    operands = []
    for place, flag in ((0, "AdjX"), (1, "AdjY")):
        x = r.centred(place)
        order = list(range(len(x.shape)))
        if len(order) < 2:
            raise Inadmissible("its operands are no matrices")
        if r.operator.options[flag]:
            order[-2:] = order[:-3:-1]
        operands.append(r.graph.transpose(x, order))
    x, y = r.graph.aligned(*operands)
    total = bounded(r.graph, r.graph.emit(MatMul(), x, y), 255 * 255 * x.shape[-1])
    return [r.requantise(total, [r.quantised(0).scale * r.quantised(1).scale / r.target.scale])]


@rule("ADD", "SUB")
def add(r: Rule) -> list[Integers]:
    """Both operands at 20 further bits of a common scale, added or subtracted, rescaled."""
    if not r.tensor(0).is_quantised:
        return _plain(r)
    scales = [np.float32(r.quantised(place).scale) for place in (0, 1)]
    twice = 2.0 * float(max(scales))
    operands = [_scaled(r, place, float(scales[place]) / twice) for place in (0, 1)]
    total = r.graph.add(*operands) if r.operator.kind == "ADD" else r.graph.sub(*operands)
    return [r.requantise(total, [twice / (2**20 * r.target.scale)])]


def _scaled(r: Rule, place: int, factor: float) -> Integers:
    """Return (q - zero) * 2^20 * factor for each byte q, as a table, or as numbers of a constant."""
    tensor = r.quantised(place)
    low, high = ENDS[tensor.dtype]
    pair = quantise_multiplier(factor)
    entries = np.array([multiplied((q - tensor.zero_point) << 20, *pair) for q in range(low, high + 1)])
    if r.is_constant(place):
        values = entries[r.constant(place).astype(np.int64) - low]
        return r.graph.weight(values, int(entries.min()), int(entries.max()))
    return r.graph.table(r.operand(place), low, entries)


def _plain(r: Rule) -> list[Integers]:
    """Arithmetic on integers that stand for themselves."""
    if any(r.tensor(place).is_quantised for place in (0, 1)) or r.operator.options["FusedActivationFunction"]:
        raise Inadmissible("its operands are of different kinds")
    x, y = r.operand(0), r.operand(1)
    results = {"ADD": r.graph.add, "SUB": r.graph.sub, "MUL": r.graph.mul}
    lo, hi = -(2**31), 2**31 - 1
    return [r.graph.clamp(results[r.operator.kind](x, y), lo, hi)]


@rule("MUL")
def mul(r: Rule) -> list[Integers]:
    """The product of centred operands, rescaled; the factor is computed in single precision, as the kernel does."""
    if not r.tensor(0).is_quantised:
        return _plain(r)
    factor = np.float32(r.quantised(0).scale) * np.float32(r.quantised(1).scale) / np.float32(r.target.scale)
    return [r.requantise(r.graph.mul(r.centred(0), r.centred(1)), [float(factor)])]


def _windows(r: Rule) -> tuple[Integers, np.ndarray, tuple[int, ...]]:
    """Return the operand, the places of each window in it (-1 outside) and the result's shape."""
    options, x = r.operator.options, r.operand(0)
    if len(x.shape) != 4:
        raise Inadmissible(f"a tensor of shape {x.shape} is no batch of images")
    kernel, strides = (options["FilterHeight"], options["FilterWidth"]), (options["StrideH"], options["StrideW"])
    n, h, w, c = x.shape
    pads = same_padding((h, w), kernel, strides) if options["Padding"] == 0 else (0, 0, 0, 0)
    pixels, (rows, columns) = windows((h, w), kernel, strides, pads)
    check_size((len(pixels), n, rows, columns, c))
    index = pixels[:, None, :, None] * c + np.arange(c) + np.arange(n)[:, None, None] * (h * w * c)
    index = np.where(pixels[:, None, :, None] < 0, -1, index)
    return x, index.reshape(len(pixels), n, rows, columns, c), (n, rows, columns, c)


def _same_scale(r: Rule) -> None:
    source, target = r.quantised(0), r.target
    if (source.scale, source.zero_point, source.dtype) != (target.scale, target.zero_point, target.dtype):
        raise Inadmissible("its result has another scale than its operand")


@rule("MAX_POOL_2D")
def max_pool(r: Rule) -> list[Integers]:
    """The largest of each window; a place outside stands for another of the same window."""
    _same_scale(r)
    x, index, shape = _windows(r)
    inside = np.where(index < 0, index.max(axis=0), index)
    result = r.graph.reshape(r.graph.max(r.graph.wire(inside, x), [0]), shape)
    return [r.graph.clamp(result, *r.ends())]


@rule("AVERAGE_POOL_2D")
def average_pool(r: Rule) -> list[Integers]:
    """The mean of the places of each window that are inside, halves away from zero."""
    _same_scale(r)
    x, index, shape = _windows(r)
    zero = r.graph.constant(np.array([0]))
    wired = (
        r.graph.wire(np.where(index < 0, x.fact.size, index), x, zero)
        if (index < 0).any()
        else r.graph.wire(index, x)
    )
    total = r.graph.reshape(r.graph.sum(wired, [0]), (prod(shape),))
    counts = (index >= 0).sum(axis=0).reshape(-1)
    parts, order = [], []
    for count in sorted(set(counts.tolist())):
        chosen = np.flatnonzero(counts == count)
        parts.append(r.graph.rescale_away(r.graph.wire(chosen, total), count))
        order.extend(chosen.tolist())
    joined = r.graph.concatenate(parts, 0)
    result = r.graph.wire(np.argsort(np.array(order)).reshape(shape), joined)
    return [r.graph.clamp(result, *r.ends())]


@rule("MEAN", "SUM")
def mean(r: Rule) -> list[Integers]:
    """The sum of centred elements, rescaled; for a mean the multiplier takes the division in, rounded down."""
    tensor, x = r.quantised(0), r.centred(0)
    axes = r.axes(1, len(x.shape))
    count = prod(x.shape[axis] for axis in axes)
    total = bounded(r.graph, r.graph.sum(x, axes), 255 * count)
    multiplier, shift = quantise_multiplier(tensor.scale / r.target.scale)
    if r.operator.kind == "MEAN":
        extra = min(count.bit_length() - 1, 32, 31 + shift)
        multiplier, shift = (multiplier << extra) // count, shift - extra
    result = r.finish(multiply(r.graph, total, [(multiplier, shift)]))
    return [r.graph.reshape(result, r.shape)]


@rule("REDUCE_MAX", "REDUCE_MIN")
def extreme(r: Rule) -> list[Integers]:
    """The largest or least along axes."""
    x = r.operand(0)
    _same_scale(r)
    sign = 1 if r.operator.kind == "REDUCE_MAX" else -1
    result = r.graph.times(r.graph.max(r.graph.times(x, sign), r.axes(1, len(x.shape))), sign)
    return [r.graph.reshape(result, r.shape)]


@rule("MAXIMUM", "MINIMUM")
def maximum(r: Rule) -> list[Integers]:
    """The larger or smaller of two tensors of one scale."""
    _one_scale(r, (r.tensor(0), r.tensor(1), r.file.tensors[r.operator.outputs[0]]))
    operation = r.graph.maximum if r.operator.kind == "MAXIMUM" else r.graph.minimum
    return [operation(r.operand(0), r.operand(1))]


def _one_scale(r: Rule, tensors: Sequence[Tensor]) -> None:
    del r
    if len({(t.dtype, *t.scales.tolist(), *t.zero_points.tolist()) for t in tensors}) > 1:
        raise Inadmissible("its operands have different scales")


@rule("LESS", "GREATER", "LESS_EQUAL", "GREATER_EQUAL", "EQUAL", "NOT_EQUAL")
def comparison(r: Rule) -> list[Integers]:
    """1 where the relation holds; the operands are of one scale."""
    _one_scale(r, (r.tensor(0), r.tensor(1)))
    x, y = r.operand(0), r.operand(1)
    below, above = r.graph.less(x, y), r.graph.less(y, x)
    one = r.graph.constant(1, len(below.shape))
    either = r.graph.clamp(r.graph.add(below, above), 0, 1)
    results = {
        "LESS": lambda: below,
        "GREATER": lambda: above,
        "LESS_EQUAL": lambda: r.graph.sub(one, above),
        "GREATER_EQUAL": lambda: r.graph.sub(one, below),
        "EQUAL": lambda: r.graph.sub(one, either),
        "NOT_EQUAL": lambda: either,
    }
    return [results[r.operator.kind]()]


@rule("SELECT", "SELECT_V2")
def select(r: Rule) -> list[Integers]:
    """The second operand where the first holds, else the third."""
    _one_scale(r, (r.tensor(1), r.tensor(2), r.file.tensors[r.operator.outputs[0]]))
    if r.operator.kind == "SELECT" and r.tensor(0).shape != r.tensor(1).shape:
        raise Inadmissible("its condition has another shape than what it selects from")
    return [r.graph.select(*r.graph.aligned(r.operand(0), r.operand(1), r.operand(2)))]


@rule("ARG_MAX", "ARG_MIN")
def arg_max(r: Rule) -> list[Integers]:
    """The first place of the largest (least) element along an axis."""
    x = r.operand(0)
    axes = r.axes(1, len(x.shape))
    if len(axes) != 1:
        raise Inadmissible("it takes one axis")
    x = x if r.operator.kind == "ARG_MAX" else r.graph.times(x, -1)
    return [r.graph.reshape(r.graph.emit(ArgMax(tuple(axes)), x), r.shape)]


@rule("GATHER", "EMBEDDING_LOOKUP")
def gather(r: Rule) -> list[Integers]:
    """Rows of a constant table at places that depend on the input, by a product with their one-hot form.

    A place outside the table, for which the format says nothing, saturates.
    """
    table, places = (0, 1) if r.operator.kind == "GATHER" else (1, 0)
    if r.operator.options.get("Axis", 0) not in {0, -len(r.tensor(table).shape)} or r.operator.options.get(
        "BatchDims"
    ):
        raise Inadmissible("places that depend on the input are taken along the first axis")
    rows = r.constant(table)
    if r.tensor(table).dtype not in ENDS or rows.ndim < 1:
        raise Inadmissible("its table is no tensor of quantised bytes")
    chosen = r.graph.clamp(r.operand(places), 0, len(rows) - 1)
    count = chosen.fact.size
    check_size((count, len(rows)))
    column = r.graph.broadcast(r.graph.reshape(chosen, (count, 1)), (count, len(rows)))
    numbers = r.graph.constant(np.arange(len(rows))[None])
    differs = r.graph.add(r.graph.less(column, numbers), r.graph.less(numbers, column))
    hot = r.graph.sub(r.graph.constant(1, 2), r.graph.clamp(differs, 0, 1))
    ends = ENDS[r.tensor(table).dtype]
    flat = r.graph.weight(rows.astype(np.int64).reshape(len(rows), -1), *ends)
    return [r.graph.reshape(r.graph.clamp(r.graph.emit(MatMul(), hot, flat), *ends), r.shape)]


@rule("QUANTIZE")
def quantise(r: Rule) -> list[Integers]:
    """Another scale and zero point for the same reals."""
    source, target = r.quantised(0), r.target
    if source.scale == target.scale:
        return [r.finish(r.centred(0))]
    pair = quantise_multiplier(source.scale / target.scale)
    return [_table(r, lambda q: multiplied(q - source.zero_point, *pair) + target.zero_point)]


def _table(r: Rule, entry: Callable[[int], int]) -> Integers:
    """Return a table over all bytes, its entries saturated to the result's type."""
    low, high = ENDS[r.quantised(0).dtype]
    least, most = ENDS[r.target.dtype]
    entries = [min(max(entry(q), least), most) for q in range(low, high + 1)]
    return r.graph.table(r.operand(0), low, entries)


@rule("RELU", "RELU6", "RELU_N1_TO_1")
def relu(r: Rule) -> list[Integers]:
    """Rescaled and cut off."""
    source, target = r.quantised(0), r.target
    pair = quantise_multiplier(float(np.float32(source.scale) / np.float32(target.scale)))
    least, most = {"RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}[r.operator.kind]
    low = target.zero_point + round_half_away(least / target.scale)
    high = ENDS[target.dtype][1] if most is None else target.zero_point + round_half_away(most / target.scale)
    low, high = max(low, ENDS[target.dtype][0]), min(high, ENDS[target.dtype][1])
    return [_table(r, lambda q: min(max(multiplied(q - source.zero_point, *pair) + target.zero_point, low), high))]


@rule("LEAKY_RELU")
def leaky_relu(r: Rule) -> list[Integers]:
    """Rescaled, with another factor for negatives."""
    source, target, alpha = r.quantised(0), r.target, np.float32(r.operator.options["Alpha"])
    if not np.isfinite(alpha) or alpha < 0:
        raise Inadmissible(f"a slope of {alpha} is not taken")
    ratio = np.float32(source.scale) / np.float32(target.scale)
    same = quantise_multiplier(float(ratio))
    less = quantise_multiplier(float(np.float32(source.scale) * alpha / np.float32(target.scale)))

    def entry(q: int) -> int:
        x = q - source.zero_point
        return target.zero_point + multiplied(x, *(same if x >= 0 else less))

    return [_table(r, entry)]


@rule("PRELU")
def prelu(r: Rule) -> list[Integers]:
    """Rescaled, with slopes that are quantised themselves for negatives."""
    x, slopes = r.centred(0), r.centred(1)
    scale = np.float32(r.quantised(0).scale)
    same = float(scale / np.float32(r.target.scale))
    less = float(scale * np.float32(r.quantised(1).scale) / np.float32(r.target.scale))
    kept = multiply(r.graph, x, [quantise_multiplier(same)])
    bent = multiply(r.graph, r.graph.mul(x, slopes), [quantise_multiplier(less)])
    return [r.finish(r.graph.select(r.graph.negative(x), bent, kept))]


def _curve(r: Rule) -> list[Integers]:
    source, target = r.quantised(0), r.target
    ends = ENDS[source.dtype], ENDS[target.dtype]
    entries = curve_table(
        r.operator.kind, (source.scale, source.zero_point), (target.scale, target.zero_point), *ends
    )
    return [r.graph.table(r.operand(0), ends[0][0], entries)]


for _kind in CURVES:
    rule(_kind)(_curve)


@rule("SOFTMAX")
def softmax(r: Rule) -> list[Integers]:
    """256 e_i / sum of e, to the nearest, with e the exponential of x - max from a table of 24 bits."""
    source, target, x = r.quantised(0), r.target, r.operand(0)
    low = ENDS[target.dtype][0]
    if Fraction(target.scale) != Fraction(1, 256) or target.zero_point != low or not x.shape:
        raise Inadmissible("its result must have the scale 1/256 and the least integer for 0")
    beta = r.operator.options["Beta"]
    if not 0 < beta < 2**20:
        raise Inadmissible(f"beta is {beta}")
    last = len(x.shape) - 1
    below = r.graph.sub(x, r.graph.max(x, [last]))
    below = r.graph.clamp(below, -255, 0)
    each = r.graph.table(below, -255, exponentials(Fraction(beta) * Fraction(source.scale)))
    total = r.graph.sum(each, [last])
    total = r.graph.clamp(total, int(each.fact.hi), total.fact.hi)  # the largest alone contributes as much
    quotient = r.graph.emit(Divide(), r.graph.times(each, 256), total)
    return [r.graph.clamp(r.graph.shift(quotient, low), *ENDS[target.dtype])]
