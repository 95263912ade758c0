"""A second executor, written from docs/integer-model.md alone: plain Python integers, one element at a time."""

from __future__ import annotations

from itertools import product
from math import prod

from balance_core.integer import operations as ops


def run(model, inputs):
    """Return every tensor of one sample, as flat lists of Python integers."""
    shapes = [fact.shape for fact in model.facts]
    tensors = []
    for place, node in enumerate(model.nodes):
        op = node.operation
        if isinstance(op, ops.Input):
            value = [int(v) for v in inputs[op.label].reshape(-1)]
        elif isinstance(op, ops.Constant):
            source = model.weights[place] if op.values is None else op.values
            value = [int(v) for v in source.reshape(-1)]
        else:
            value = _apply(op, [(tensors[i], shapes[i]) for i in node.inputs], shapes[place])
        tensors.append(value)
    return tensors


def _coordinates(shape):
    return product(*(range(n) for n in shape))


def _flat(shape, at):
    position = 0
    for n, i in zip(shape, at, strict=True):
        position = position * n + (i if n > 1 else 0)
    return position


def _pairwise(function, operands, shape):
    (x, xs), (y, ys) = operands
    return [function(x[_flat(xs, at)], y[_flat(ys, at)]) for at in _coordinates(shape)]


def _lines(op, operand, shape):
    """Return, for each result, the elements that are reduced, in row-major order."""
    x, xs = operand
    ranges = [range(n) if axis in op.axes else None for axis, n in enumerate(xs)]
    return [
        [x[_flat(xs, inner)] for inner in product(*(r or [i] for r, i in zip(ranges, at, strict=True)))]
        for at in _coordinates(shape)
    ]


def _apply(op, operands, shape):  # noqa: C901, PLR0911, PLR0912 - one case for each operation, as in the document
    x, xs = operands[0]
    match op.name:
        case "wire":
            pool = [v for values, _ in operands for v in values]
            if op.listed is not None:
                return [pool[int(i)] for i in op.listed]
            loops = list(zip(op.counts, op.strides, strict=True))
            return [
                pool[op.offset + sum(i * stride for i, (_, stride) in zip(at, loops, strict=True))]
                for at in _coordinates(op.counts)
            ]
        case "add":
            return _pairwise(lambda a, b: a + b, operands, shape)
        case "sub":
            return _pairwise(lambda a, b: a - b, operands, shape)
        case "mul":
            return _pairwise(lambda a, b: a * b, operands, shape)
        case "divide":
            return _pairwise(lambda a, b: (2 * a + b) // (2 * b), operands, shape)
        case "less":
            return _pairwise(lambda a, b: int(a < b), operands, shape)
        case "sum":
            return [sum(line) for line in _lines(op, operands[0], shape)]
        case "max":
            return [max(line) for line in _lines(op, operands[0], shape)]
        case "argmax":
            return [line.index(max(line)) for line in _lines(op, operands[0], shape)]
        case "rescale":
            return [(2 * v + op.divisor) // (2 * op.divisor) for v in x]
        case "clamp":
            return [min(max(v, op.lo), op.hi) for v in x]
        case "lookup":
            return [int(op.table[v - op.first]) for v in x]
        case "matmul":
            y, ys = operands[1]
            return [
                sum(x[_flat(xs, (*lead, i, k))] * y[_flat(ys, (*lead, k, j))] for k in range(xs[-1]))
                for *lead, i, j in _coordinates(shape)
            ]
        case "conv2d":
            return _conv2d(op, operands, shape)
    raise AssertionError(op.name)


def _conv2d(op, operands, shape):
    (x, (_, channels, height, width)), (w, (outputs, depth, kh, kw)) = operands
    result = []
    for n, o, i, j in _coordinates(shape):
        group = o // (outputs // op.groups)
        total = 0
        for c, a, b in _coordinates((depth, kh, kw)):
            row = i * op.strides[0] - op.pads[0] + a * op.dilations[0]
            column = j * op.strides[1] - op.pads[1] + b * op.dilations[1]
            if 0 <= row < height and 0 <= column < width:
                image = ((n * channels + group * depth + c) * height + row) * width + column
                total += x[image] * w[((o * depth + c) * kh + a) * kw + b]
        result.append(total)
    assert len(result) == prod(shape)
    return result
