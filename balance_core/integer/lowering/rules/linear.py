"""Layers with weights: the accumulator keeps its width, and takes the bias, until somebody narrows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from balance_core.integer.facts import Inadmissible
from balance_core.integer.lowering.rules import rule
from balance_core.integer.operations import Conv2d

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balance_core.integer.lowering.graph import Real
    from balance_core.integer.lowering.node import Node, Value


@rule("MatMul", precision=8)
def matmul(node: Node) -> Value:
    """Matrix products of any rank, as numpy's."""
    r = node.reals
    x, y = node.real(0), node.real(1)
    row, column = len(x.shape) == 1, len(y.shape) == 1
    x = r.reshape(x, (1, *x.shape)) if row else x
    y = r.reshape(y, (*y.shape, 1)) if column else y
    result = r.matmul(x, y)
    *lead, m, n = result.shape
    return r.reshape(result, (*lead, *([] if row else [m]), *([] if column else [n])))


@rule("Gemm", precision=8)
def gemm(node: Node) -> Value:
    """Alpha * A' * B' + beta * C."""
    r = node.reals
    alpha, beta = node.number("alpha"), node.number("beta")
    sides = []
    for place, name in ((0, "transA"), (1, "transB")):
        transposed = bool(node.integer(name))
        if node.is_constant(place):
            array = node.constant(place)
            sides.append(r.weight(array.T if transposed else array))
        else:
            x = node.real(place)
            sides.append(r.transpose(x, (1, 0)) if transposed else x)
    result = r.matmul(*sides)
    result = result if alpha == 1 else r.times(result, alpha)
    if not node.has(2) or beta == 0:
        return result
    if node.is_constant(2):
        return r.add_constant(result, node.constant(2).astype(np.float64) * beta)
    return r.add(result, r.times(node.real(2), beta))


@rule("Conv", precision=8)
def conv(node: Node) -> Value:
    """Convolutions of one or two spatial axes, with groups, strides, dilations and every padding."""
    r = node.reals
    shape = node.shape(0)
    spatial = len(shape) - 2
    if spatial not in {1, 2}:
        raise Inadmissible(f"a convolution over {spatial} spatial axes is not supported")
    kernel = node.integers("kernel_shape") or node.shape(1)[2:]
    strides, dilations = node.integers("strides") or (1,) * spatial, node.integers("dilations") or (1,) * spatial
    pads = padding(node, shape[2:], kernel, strides, dilations)
    groups = node.integer("group")
    x = node.real(0)
    weights = r.weight(node.constant(1)) if node.is_constant(1) else node.real(1)
    if spatial == 1:
        x = r.reshape(x, (*x.shape[:2], 1, x.shape[2]))
        weights = r.reshape(weights, (*weights.shape[:2], 1, weights.shape[2]))
        strides, dilations, pads = (1, *strides), (1, *dilations), (0, pads[0], 0, pads[1])
    result = r.conv2d(x, weights, Conv2d(tuple(strides), tuple(pads), tuple(dilations), groups))
    if spatial == 1:
        result = r.reshape(result, (*result.shape[:2], result.shape[3]))
    if not node.has(2):
        return result
    ones = (1,) * spatial
    if node.is_constant(2):
        return r.add_constant(result, node.constant(2).reshape(1, -1, *ones))
    bias = node.real(2)
    return r.add(result, r.reshape(bias, (1, bias.fact.size, *ones)))


def padding(
    node: Node, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[int, ...]:
    """Return the pads of a convolution or pool (all begins, then all ends), from pads or auto_pad."""
    mode = node.text("auto_pad", "NOTSET")
    given = node.integers("pads")
    if mode in {"NOTSET", ""}:
        pads = given or (0,) * (2 * len(size))
        if min(pads) < 0:
            raise Inadmissible("negative pads are not supported")
        return pads
    if mode == "VALID":
        return (0,) * (2 * len(size))
    if mode not in {"SAME_UPPER", "SAME_LOWER"}:
        raise Inadmissible(f"auto_pad {mode} is not known")
    begins, ends = [], []
    for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
        total = max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
        small = total // 2
        begins.append(small if mode == "SAME_UPPER" else total - small)
        ends.append(total - begins[-1])
    return (*begins, *ends)


@rule("Einsum", precision=8)
def einsum(node: Node) -> Value:
    """Any equation without repeated letters in one operand but for diagonals: products over shared letters."""
    terms, result = _parse(node)
    operands = node.all_reals()
    letters, x = terms[0], operands[0]
    letters, x = _diagonal(node, letters, x)
    for place in range(1, len(operands)):
        others, y = _diagonal(node, terms[place], operands[place])
        later = set(result).union(*terms[place + 1 :])
        letters, x = _contract(node, (letters, x), (others, y), later)
    gone = [i for i, letter in enumerate(letters) if letter not in result]
    if gone:
        x = node.reals.sum(x, gone)
        x = node.reals.reshape(x, [n for i, n in enumerate(x.shape) if i not in gone])
        letters = [letter for letter in letters if letter in result]
    return node.reals.transpose(x, [letters.index(letter) for letter in result]) if result else x


def _parse(node: Node) -> tuple[list[list[str]], list[str]]:
    """Split the equation; an ellipsis becomes letters of its own, numbered from the right."""
    equation = node.text("equation").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = []
    widest = 0
    for place, text in enumerate(left.split(",")):
        head, dots, tail = text.partition("...")
        extra = len(node.shape(place)) - len(head) - len(tail) if dots else 0
        widest = max(widest, extra)
        terms.append([*head, *(f".{i}" for i in range(extra, 0, -1)), *tail])
        if len(terms[-1]) != len(node.shape(place)):
            raise Inadmissible(f"the equation {equation} does not fit operand {place}")
    spread = [f".{i}" for i in range(widest, 0, -1)]
    if arrow:
        head, dots, tail = right.partition("...")
        return terms, [*head, *(spread if dots else []), *tail]
    flat = [letter for term in terms for letter in term]
    return terms, [*spread, *sorted(x for x in set(flat) if flat.count(x) == 1 and x[0] != ".")]


def _diagonal(node: Node, letters: list[str], x: Real) -> tuple[list[str], Real]:
    """Keep the diagonal of letters that repeat within one operand."""
    unique = list(dict.fromkeys(letters))
    if len(unique) == len(letters):
        return letters, x
    steps = np.array([int(np.prod(x.shape[i + 1 :])) for i in range(len(letters))])
    sizes = [x.shape[letters.index(letter)] for letter in unique]
    index = np.zeros(sizes, dtype=np.int64)
    for axis, letter in enumerate(unique):
        stride = int(sum(step for step, other in zip(steps, letters, strict=True) if other == letter))
        shape = [1] * len(unique)
        shape[axis] = sizes[axis]
        index = index + (np.arange(sizes[axis]) * stride).reshape(shape)
    return unique, node.reals.wire(index, x)


def _contract(
    node: Node, left: tuple[list[str], Real], right: tuple[list[str], Real], later: set[str]
) -> tuple[list[str], Real]:
    """Multiply two operands and sum over the letters that nothing later needs, as one matrix product."""
    r = node.reals
    (a, x), (b, y) = left, right
    batch = [letter for letter in a if letter in b and letter in later]
    inner = [letter for letter in a if letter in b and letter not in later]
    rows, columns = [v for v in a if v not in b], [v for v in b if v not in a]
    size = {letter: x.shape[a.index(letter)] for letter in a}
    for i, letter in enumerate(b):
        size[letter] = max(size.get(letter, 1), y.shape[i])
    x = r.expand(x, [size[letter] for letter in a])
    y = r.expand(y, [size[letter] for letter in b])

    def count(letters: list[str]) -> int:
        return int(np.prod([size[letter] for letter in letters], dtype=np.int64))

    x = r.transpose(x, [a.index(letter) for letter in (*batch, *rows, *inner)])
    y = r.transpose(y, [b.index(letter) for letter in (*batch, *inner, *columns)])
    x = r.reshape(x, (count(batch), count(rows), count(inner)))
    y = r.reshape(y, (count(batch), count(inner), count(columns)))
    order = [*batch, *rows, *columns]
    return order, r.reshape(r.matmul(x, y), [size[letter] for letter in order])
