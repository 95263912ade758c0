"""Quantised sums, products and averages, as TensorFlow Lite's reference kernels define them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from balance_core.converters.exact import Tensor as Integers
from balance_core.converters.exact import check_size, same_padding, windows
from balance_core.converters.tflite.integer_rule import ENDS, Rule, rule, same_scale
from balance_core.converters.tflite.multiplier import bounded, multiplied, multiply, quantise_multiplier
from balance_core.integer.facts import Inadmissible
from balance_core.integer.operations import Conv2d, MatMul

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    return [r.graph.reshape(r.requantise(total, factors, 1, once=True), r.shape)]


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


@rule("MAX_POOL_2D")
def max_pool(r: Rule) -> list[Integers]:
    """The largest of each window; a place outside stands for another of the same window."""
    same_scale(r)
    x, index, shape = _windows(r)
    inside = np.where(index < 0, index.max(axis=0), index)
    result = r.graph.reshape(r.graph.max(r.graph.wire(inside, x), [0]), shape)
    return [r.graph.clamp(result, *r.ends())]


@rule("AVERAGE_POOL_2D")
def average_pool(r: Rule) -> list[Integers]:
    """The mean of the places of each window that are inside, halves away from zero."""
    same_scale(r)
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
